//! The zones as SVG: a box for each, filled as far as it is written, strong where it is live.

use std::fmt::Write as _;

use super::terminal::colour;
use super::zones::{ZoneView, cells, role_name, sums};

/// Boxes of a picture at most.
const CELLS_MAX: usize = 4000;
/// Boxes in a row.
const ROW_CELLS: usize = 80;
/// Sides of a box and the step to the next.
const BOX: usize = 10;
const STEP: usize = 12;
/// Room for title and legend.
const HEAD: usize = 64;

/// The picture as a document; `title` goes above it.
pub(crate) fn picture(views: &[ZoneView], title: &str) -> String {
    let cells = cells(views, CELLS_MAX);
    let rows = cells.len().div_ceil(ROW_CELLS);
    let (width, height) = (ROW_CELLS * STEP + 20, HEAD + rows * STEP + 12);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    let mut x = 10;
    for sum in sums(views) {
        let (r, g, b) = colour(sum.role);
        let label = format!("{} {}", role_name(sum.role), sum.zones);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"34\" width=\"10\" height=\"10\" fill=\"rgb({r},{g},{b})\"/>\
             <text x=\"{}\" y=\"43\">{label}</text>",
            x + 14
        );
        x += 26 + 7 * label.len();
    }
    let _ = writeln!(
        svg,
        "<text x=\"10\" y=\"58\" font-size=\"10\" fill=\"#666666\">pale: written; strong: live; \
         dark frame: being appended to</text>"
    );
    for (at, cell) in cells.iter().enumerate() {
        let (r, g, b) = colour(cell.role);
        let (x, y) = (10 + at % ROW_CELLS * STEP, HEAD + at / ROW_CELLS * STEP);
        let frame = if cell.head { "#000000" } else { "#cccccc" };
        let last = cell.first + cell.count - 1;
        let _ = write!(
            svg,
            "<g><title>zones {}-{last}: {}, {:.0} % written, {:.0} % live</title>\
             <rect x=\"{x}\" y=\"{y}\" width=\"{BOX}\" height=\"{BOX}\" fill=\"#f6f6f6\" \
             stroke=\"{frame}\" stroke-width=\"0.6\"/>",
            cell.first,
            role_name(cell.role),
            100.0 * cell.fill,
            100.0 * cell.live
        );
        for (share, opacity) in [(cell.fill, 0.3), (cell.live, 1.0)] {
            let tall = share.clamp(0.0, 1.0) * BOX as f64;
            if tall > 0.05 {
                let top = y as f64 + BOX as f64 - tall;
                let _ = write!(
                    svg,
                    "<rect x=\"{x}\" y=\"{top:.1}\" width=\"{BOX}\" height=\"{tall:.1}\" \
                     fill=\"rgb({r},{g},{b})\" fill-opacity=\"{opacity}\"/>"
                );
            }
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
