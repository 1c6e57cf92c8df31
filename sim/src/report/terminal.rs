//! The zones as characters, one for each zone or for a few neighbours.
//!
//! With colours the colour is the role, the height of the block how much of the zone is live, and
//! a tinted ground shows that it is written; without, the letter is the role, a capital where at
//! least half of the zone is live.

use std::fmt::Write as _;

use shingle_engine::zone::Role;

use super::zones::{Cell, ZoneView, cells, role_name, sums};

/// Cells of a picture at most.
const CELLS_MAX: usize = 1800;
/// Cells in a row.
const ROW_CELLS: usize = 100;

/// Red, green and blue of a role.
pub(super) fn colour(role: Role) -> (u8, u8, u8) {
    match role {
        Role::Free => (110, 110, 110),
        Role::Anchor => (204, 51, 102),
        Role::Manifest => (230, 120, 40),
        Role::Log => (66, 135, 245),
        Role::Cold => (60, 180, 190),
        Role::Run => (190, 160, 30),
        Role::Bottom => (70, 170, 80),
        Role::Retired => (40, 40, 40),
        Role::Releasing => (150, 120, 170),
        Role::Extension => (40, 90, 190),
        Role::Twin => (130, 140, 60),
        Role::Parity => (120, 70, 160),
        Role::LogMirror => (100, 160, 230),
    }
}

fn letter(cell: &Cell) -> char {
    let letter = match cell.role {
        Role::Free => return '.',
        Role::Retired => return 'x',
        Role::Releasing => return '-',
        Role::Anchor => 'a',
        Role::Manifest => 'm',
        Role::Log => 'l',
        Role::Cold => 'c',
        Role::Run => 'r',
        Role::Bottom => 'b',
        Role::Extension => 'e',
        Role::Twin => 't',
        Role::Parity => 'p',
        Role::LogMirror => 'k',
    };
    if cell.live >= 0.5 { letter.to_ascii_uppercase() } else { letter }
}

fn coloured(text: &mut String, cell: &Cell) {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if cell.role == Role::Free {
        text.push_str("\x1b[38;2;90;90;90m·\x1b[0m");
        return;
    }
    let (r, g, b) = colour(cell.role);
    let height = HEIGHTS[(cell.live * 8.0).round().clamp(0.0, 8.0) as usize];
    // The ground is as strong as the zone is full.
    let dim = |c: u8| (f64::from(c) * 0.35 * cell.fill.clamp(0.2, 1.0)) as u8;
    let (dr, dg, db) = (dim(r), dim(g), dim(b));
    let _ = write!(text, "\x1b[38;2;{r};{g};{b};48;2;{dr};{dg};{db}m{height}\x1b[0m");
}

/// The picture with its legend.
pub(crate) fn picture(views: &[ZoneView], is_coloured: bool) -> String {
    let cells = cells(views, CELLS_MAX);
    let each = cells.first().map_or(1, |cell| cell.count);
    let mut text = String::new();
    for (row, row_cells) in cells.chunks(ROW_CELLS).enumerate() {
        let _ = write!(text, "{:>7} ", row * ROW_CELLS * each as usize);
        for cell in row_cells {
            if is_coloured {
                coloured(&mut text, cell);
            } else {
                text.push(letter(cell));
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n        role        zones    fill   live of it");
    for sum in sums(views) {
        let mark = match is_coloured {
            true => {
                let (r, g, b) = colour(sum.role);
                format!("\x1b[38;2;{r};{g};{b}m█\x1b[0m")
            }
            false => {
                let (fill, live) = (sum.fill, 1.0);
                letter(&Cell { role: sum.role, fill, live, head: false, first: 0, count: 1 })
                    .to_string()
            }
        };
        let (fill, live) = (100.0 * sum.fill, 100.0 * sum.live);
        let live = if matches!(sum.role, Role::Free | Role::Retired) {
            String::new()
        } else {
            format!("{live:>10.0} %")
        };
        let _ = writeln!(
            text,
            "      {mark} {:<10}{:>7}{fill:>6.0} %{live}",
            role_name(sum.role),
            sum.zones
        );
    }
    let what = match is_coloured {
        true => "colour: role; height: live; ground: written",
        false => "letter: role; capital: at least half live",
    };
    let _ = writeln!(
        text,
        "        {what}; {}",
        match each {
            1 => "a zone a character".to_owned(),
            each => format!("{each} zones a character"),
        }
    );
    text
}
