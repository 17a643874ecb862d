//! One pool as an SVG: what it did, where it is going, and its ceiling. Colours come from the page (CSS classes).

use std::fmt::Write as _;

use super::assess::Chart;
use super::escape::escaped;

/// Size in user units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
/// Room for the axes.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// The highest share that is shown: a little above full, so that the ceiling is a line and not the edge.
const SHARE_MAX: f64 = 1.12;

/// Draws. `title` is for those who can't see it; escaped here.
pub(super) fn draw(chart: &Chart, title: &str) -> String {
    let first = chart
        .history
        .first()
        .map_or(-1.0, |point| point.0.min(-0.01));
    let last = chart.band.last().map_or(0.0, |point| point.0).max(0.01);
    let x = |day: f64| LEFT + (day - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| {
        let share = share.clamp(0.0, SHARE_MAX) / SHARE_MAX;
        TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)
    };
    let line = |points: &mut dyn Iterator<Item = (f64, f64)>| {
        let mut path = String::new();
        for (index, (day, share)) in points.enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if index == 0 { "M" } else { "L" },
                x(day),
                y(share)
            );
        }
        path
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escaped(title)
    );
    for percent in [0, 25, 50, 75] {
        let height = y(f64::from(percent) / 100.0);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {height:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            height + 4.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">full</text>",
        LEFT - 6.0,
        y(1.0) + 4.0
    );
    if !chart.band.is_empty() {
        let upper = line(&mut chart.band.iter().map(|point| (point.0, point.3)));
        let lower = line(&mut chart.band.iter().rev().map(|point| (point.0, point.1)));
        let _ = write!(svg, "<path class=\"band\" d=\"{upper}L{}Z\"/>", &lower[1..]);
        let median = line(&mut chart.band.iter().map(|point| (point.0, point.2)));
        let _ = write!(svg, "<path class=\"median\" d=\"{median}\"/>");
    }
    let _ = write!(
        svg,
        "<path class=\"history\" d=\"{}\"/>",
        line(&mut chart.history.iter().copied())
    );
    // The ceiling holds until it changes, and on into the future.
    let mut ceiling = String::new();
    for (index, (day, share)) in chart.ceiling.iter().enumerate() {
        let command = if index == 0 {
            format!("M{:.1} {:.1}", x(*day), y(*share))
        } else {
            format!("H{:.1}V{:.1}", x(*day), y(*share))
        };
        ceiling.push_str(&command);
    }
    let _ = write!(
        svg,
        "<path class=\"ceiling\" d=\"{ceiling}H{}\"/>",
        WIDTH - RIGHT
    );
    let _ = write!(
        svg,
        "<path class=\"now\" d=\"M{now:.1} {TOP}V{:.1}\"/><text x=\"{now:.1}\" y=\"{:.1}\" text-anchor=\"middle\">now</text>",
        HEIGHT - BOTTOM,
        HEIGHT - 8.0,
        now = x(0.0)
    );
    for (day, anchor) in [(first, "start"), (last, "end")] {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            x(day),
            HEIGHT - 8.0,
            days(day)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A distance from now: `−14 d`, `+9 h`.
fn days(days: f64) -> String {
    let sign = if days < 0.0 { '−' } else { '+' };
    if days.abs() < 3.0 {
        format!("{sign}{:.0} h", days.abs() * 24.0)
    } else {
        format!("{sign}{:.0} d", days.abs())
    }
}
