//! What is asked of the engine, and what a run made of it.

use std::fmt::Write as _;

/// A figure and what it should be.
#[derive(Clone, Debug)]
pub struct Goal {
    /// Which, as a short phrase.
    pub name: String,
    /// The engine's figure.
    pub figure: f64,
    /// What it should be.
    pub bound: Bound,
    /// A peer's figure on the same work.
    pub peer: Option<(String, f64)>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

impl Goal {
    /// A figure that no peer is compared with.
    #[must_use]
    pub fn new(name: impl Into<String>, figure: f64, bound: Bound) -> Self {
        Self { name: name.into(), figure, bound, peer: None }
    }

    /// The engine's figure as a multiple of the peer's.
    #[must_use]
    pub fn against(name: impl Into<String>, figure: f64, peer: (&str, f64), bound: Bound) -> Self {
        let peer = Some((peer.0.to_owned(), peer.1));
        Self { name: name.into(), figure, bound, peer }
    }

    /// What is held against the bound: the figure, or how many times the peer's it is.
    #[must_use]
    pub fn measure(&self) -> f64 {
        self.peer.as_ref().map_or(self.figure, |(_, peer)| self.figure / peer)
    }

    /// Whether it is as it should be.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.measure() >= least,
            Bound::AtMost(most) => self.measure() <= most,
        }
    }
}

/// The goals as a Markdown table, those that were missed first.
#[must_use]
pub fn table(goals: &[Goal]) -> String {
    let mut rows: Vec<&Goal> = goals.iter().collect();
    rows.sort_by_key(|goal| goal.is_met());
    let mut text =
        String::from("| | goal | asked | figure | peer | ratio |\n|---|---|---|---|---|---|\n");
    for goal in rows {
        let verdict = if goal.is_met() { "met" } else { "**missed**" };
        let (sign, bound) = match goal.bound {
            Bound::AtLeast(least) => ("≥", least),
            Bound::AtMost(most) => ("≤", most),
        };
        let (peer, ratio) = match &goal.peer {
            Some((name, figure)) => {
                (format!("{name}: {}", shown(*figure)), format!("{}×", shown(goal.measure())))
            }
            None => (String::new(), String::new()),
        };
        let times = if goal.peer.is_some() { "×" } else { "" };
        let _ = writeln!(
            text,
            "| {verdict} | {} | {sign} {}{times} | {} | {peer} | {ratio} |",
            goal.name,
            shown(bound),
            shown(goal.figure),
        );
    }
    text
}

/// A figure with three digits that count.
#[must_use]
pub fn shown(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1e6 => format!("{figure:.3e}"),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        size if size >= 0.0005 || size == 0.0 => format!("{figure:.3}"),
        _ => format!("{figure:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_that_were_missed_come_first() {
        let goals = [
            Goal::new("kept", 0.9, Bound::AtLeast(0.5)),
            Goal::against("behind", 10.0, ("other", 8.0), Bound::AtLeast(2.0)),
        ];
        assert!(goals[0].is_met() && !goals[1].is_met());
        let table = table(&goals);
        let at = |name: &str| table.find(name).expect("each has a row");
        assert!(at("behind") < at("kept"));
        assert!(table.contains("| ≥ 2.00× | 10.0 | other: 8.00 | 1.25× |"), "{table}");
    }
}
