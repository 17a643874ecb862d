use analytics::*; use std::time::Instant;
fn main(){ let c=DetectorConfig::default(); println!("size {}", size_of::<SeriesDetectors>());
 for n in [1usize,1000,300_000]{ let mut d=vec![SeriesDetectors::default();n]; let mut s=1u64; let mut u=move||{s=s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);(s>>11) as f64/(1u64<<53) as f64};
 let v:Vec<f64>=(0..65536).map(|_|50.0+(0..12).map(|_|u()).sum::<f64>()).collect(); let mut t=0; let warm= if n>1000 {40} else {400};
 for i in 0..warm { t+=10_000_000; for (j,x) in d.iter_mut().enumerate(){ x.observe(&c,t,v[(i*31+j*7)&65535]); } }
 let rounds=(3_000_000/n).max(3); let b=Instant::now(); let mut acc=0.0; for i in 0..rounds { t+=10_000_000; for (j,x) in d.iter_mut().enumerate(){ acc+=x.observe(&c,t,v[(i*17+j*7)&65535]).score; } } println!("{n}: {:.0} ns {acc:.1}", b.elapsed().as_nanos() as f64/(rounds*n) as f64); } }
