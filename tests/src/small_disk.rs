//! A disk of a few MiB that a test fills and frees: a file system in memory, in a namespace of its own, so that no rights are needed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The file that takes the space.
const BALLAST: &str = "ballast";
/// Written at a time while there is room.
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// A small disk, mounted on a directory for the programs that are started in its namespace. Dropped, it is gone.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    mounted_on: PathBuf,
}

impl SmallDisk {
    /// A disk of so many bytes on a directory (made if missing), or `None`, said loudly, where namespaces are not allowed.
    ///
    /// # Panics
    /// If there is none and `TIDEWATCH_REQUIRE_NAMESPACES=1`.
    pub fn for_tests(test: &str, on: &Path, bytes: u64) -> Option<SmallDisk> {
        match Self::mount(on, bytes) {
            Ok(disk) => Some(disk),
            Err(why) => {
                crate::skip(
                    test,
                    &format!("user and mount namespaces (`unshare -rm`, `nsenter`: {why})"),
                    "TIDEWATCH_REQUIRE_NAMESPACES",
                );
                None
            }
        }
    }

    fn mount(on: &Path, bytes: u64) -> io::Result<SmallDisk> {
        // Holds the namespace until the pipe to us breaks.
        const HOLD: &str =
            r#"mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && read -r end"#;
        fs::create_dir_all(on)?;
        let mounted_on = on.canonicalize()?;
        let mut holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", HOLD, "sh"])
            .arg(&mounted_on)
            .arg(bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut said)?;
        }
        let disk = SmallDisk { holder, mounted_on };
        if said.trim() != "mounted" {
            return Err(io::Error::other("nothing could be mounted"));
        }
        // A program can be started in there, too.
        let wrapper = disk.wrapper();
        let entered = Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .arg("true")
            .status()?;
        if !entered.success() {
            return Err(io::Error::other(format!("nsenter: {entered}")));
        }
        Ok(disk)
    }

    /// The words before a program so that it sees the disk.
    pub fn wrapper(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        [
            "nsenter",
            "-t",
            &holder,
            "-U",
            "-m",
            "--preserve-credentials",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Where this process sees the disk.
    pub fn seen_at(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(
            self.mounted_on
                .strip_prefix("/")
                .unwrap_or(&self.mounted_on),
        )
    }

    /// Takes the space until so many bytes (roughly, at least) are free.
    ///
    /// # Panics
    /// If the disk fails otherwise than by being full.
    pub fn fill(&self, free_bytes: u64) {
        let path = self.seen_at().join(BALLAST);
        let mut ballast = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .expect("the ballast can be opened");
        let full = loop {
            match ballast.write(&BLOCK) {
                Ok(0) => break ErrorKind::StorageFull,
                Ok(_) => {}
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, ErrorKind::StorageFull, "{}", path.display());
        let length = ballast.metadata().expect("the ballast has a size").len();
        ballast
            .set_len(length.saturating_sub(free_bytes))
            .expect("the ballast can be cut");
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn free(&self) {
        let path = self.seen_at().join(BALLAST);
        // Emptied first: whoever looks at the disk sees one change.
        File::create(&path)
            .and_then(|_| fs::remove_file(&path))
            .expect("the ballast can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ended = self.holder.wait();
    }
}
