//! What the lives of a case come to: medians, ratios with their spread, and goals.

use std::fmt::Write as _;

use super::case::{Case, Kind};
use super::life::{Life, Work};
use crate::goal::{Bound, Goal, shown};
use crate::report::Section;

/// One round: a life of each.
pub type Round = Vec<(Kind, Life)>;

/// A figure of a life.
#[derive(Clone, Copy)]
enum Figure {
    Rate(Work),
    WriteAmplification,
    SpaceAmplification,
    BatchP999,
    BatchMax,
}

impl Figure {
    fn of(self, life: &Life) -> f64 {
        match self {
            Self::Rate(work) => life.rate(work),
            Self::WriteAmplification => life.write_amplification,
            Self::SpaceAmplification => life.space_amplification,
            Self::BatchP999 => life.batch_p999_ms,
            Self::BatchMax => life.batch_max_ms,
        }
    }

    fn is_better_high(self) -> bool {
        matches!(self, Self::Rate(_))
    }

    fn name(self) -> String {
        match self {
            Self::Rate(work) => format!("{}, a second", work.name()),
            Self::WriteAmplification => "write amplification".to_owned(),
            Self::SpaceAmplification => "space amplification".to_owned(),
            Self::BatchP999 => "batch p99.9".to_owned(),
            Self::BatchMax => "longest batch".to_owned(),
        }
    }

    fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Work::ALL.into_iter().map(Self::Rate).collect();
        all.extend([Self::WriteAmplification, Self::SpaceAmplification]);
        all.extend([Self::BatchP999, Self::BatchMax]);
        all
    }
}

/// Rounds of one case.
struct Rounds<'r>(&'r [Round]);

impl Rounds<'_> {
    /// The figure in each round.
    fn figures(&self, kind: Kind, figure: Figure) -> Vec<f64> {
        let lives = self.0.iter().flatten().filter(|(lived, _)| *lived == kind);
        lives.map(|(_, life)| figure.of(life)).collect()
    }

    fn median(&self, kind: Kind, figure: Figure) -> f64 {
        median(self.figures(kind, figure))
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.first().into_iter().flatten().map(|(kind, _)| *kind)
    }

    /// The peer whose median is the best, and that median; `None` if no peer took part.
    fn best_peer(&self, figure: Figure) -> Option<(Kind, f64)> {
        let medians = self.kinds().filter(|kind| !kind.is_ours());
        let medians = medians.map(|kind| (kind, self.median(kind, figure)));
        if figure.is_better_high() {
            medians.max_by(|a, b| a.1.total_cmp(&b.1))
        } else {
            medians.min_by(|a, b| a.1.total_cmp(&b.1))
        }
    }

    /// How many times the figure of a peer ours is, in each round.
    fn ratios(&self, ours: Kind, peer: Kind, figure: Figure) -> Vec<f64> {
        let (ours, peer) = (self.figures(ours, figure), self.figures(peer, figure));
        ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        0 => (figures[middle - 1] + figures[middle]) / 2.0,
        _ => figures[middle],
    }
}

/// Least and most.
fn spread(figures: &[f64]) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(0.0, f64::max);
    format!("{}–{}", shown(least), shown(most))
}

/// The section and the goals of a case. There is a round at least; without a peer, or without the
/// engine, there are no goals.
#[must_use]
pub fn judge(case: &Case, rounds: &[Round]) -> (Section, Vec<Goal>) {
    let rounds = Rounds(rounds);
    let (zone_count, zone_len) = case.zones();
    let about = format!(
        "{} keys of 16 B, values of {} B, {} puts a batch; {} MB in all. The engine has a device \
         of {zone_count} zones of {} KiB. {} rounds of a life of each.",
        case.job.keys,
        case.job.value_len,
        case.job.batch_len,
        case.job.live_bytes() / 1_000_000,
        zone_len >> 10,
        rounds.0.len(),
    );
    let mut section = Section::new(case.name(), about);
    section.notes = vec![medians(&rounds)];
    let is_all = [Kind::Memory, Kind::File].iter().all(|ours| rounds.kinds().any(|k| k == *ours));
    if !is_all {
        return (section, Vec::new());
    }
    section.notes.extend(ratios(&rounds));
    let goals = goals(case, &rounds).unwrap_or_default();
    (section, goals)
}

fn medians(rounds: &Rounds<'_>) -> String {
    let works = Work::ALL.map(Work::name).join(" | ");
    let mut text = format!(
        "| median | {works} | settling, s | write amp. | space amp. | batch p99.9 ms \
         | longest ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for kind in rounds.kinds() {
        let rates = Work::ALL.map(|work| shown(rounds.median(kind, Figure::Rate(work))));
        let lives = rounds.0.iter().flatten().filter(|(lived, _)| *lived == kind);
        let settle = median(lives.map(|(_, life)| life.settle_s).collect());
        let rest = Figure::all().split_off(Work::ALL.len());
        let rest: Vec<String> =
            rest.into_iter().map(|figure| shown(rounds.median(kind, figure))).collect();
        let (rates, rest) = (rates.join(" | "), rest.join(" | "));
        let _ = writeln!(text, "| {} | {rates} | {} | {rest} |", kind.name(), shown(settle));
    }
    text
}

fn ratios(rounds: &Rounds<'_>) -> Option<String> {
    let mut text = String::from(
        "| | best peer | on a file: its multiple | least to most | in memory | least to most |\n\
         |---|---|---|---|---|---|\n",
    );
    for figure in Figure::all() {
        let (peer, _) = rounds.best_peer(figure)?;
        let [file, memory] = [Kind::File, Kind::Memory].map(|ours| {
            let ratios = rounds.ratios(ours, peer, figure);
            format!("{}× | {}", shown(median(ratios.clone())), spread(&ratios))
        });
        let _ = writeln!(text, "| {} | {} | {file} | {memory} |", figure.name(), peer.name());
    }
    Some(text)
}

fn goals(case: &Case, rounds: &Rounds<'_>) -> Option<Vec<Goal>> {
    let against = |figure: Figure, bound: Bound| {
        let (peer, peers) = rounds.best_peer(figure)?;
        let ours = rounds.median(Kind::File, figure);
        let name = format!("{}: {}", case.name(), figure.name());
        Some(Goal::against(name, ours, (peer.name(), peers), bound))
    };
    let alone = |figure: Figure, most: f64| {
        let name = format!("{}: {}", case.name(), figure.name());
        Goal::new(name, rounds.median(Kind::File, figure), Bound::AtMost(most))
    };
    let is_small = case.job.value_len <= 4096;
    if case.memory_len < 64 << 20 {
        let most = if case.job.value_len <= 100 { 4.5 } else { 2.5 };
        return is_small.then(|| {
            let space = alone(Figure::SpaceAmplification, 1.3);
            vec![alone(Figure::WriteAmplification, most), space]
        });
    }
    let mut goals = vec![
        against(Figure::WriteAmplification, Bound::AtMost(1.0))?,
        against(Figure::SpaceAmplification, Bound::AtMost(1.0))?,
    ];
    if is_small {
        let rate = |work: Work, least: f64| against(Figure::Rate(work), Bound::AtLeast(least));
        goals.extend([rate(Work::Load, 2.0)?, rate(Work::Overwrite, 2.0)?]);
        goals.extend([rate(Work::Hit, 1.5)?, rate(Work::Forward, 1.0)?]);
        goals.extend([rate(Work::Reverse, 1.0)?, against(Figure::BatchMax, Bound::AtMost(0.1))?]);
    }
    Some(goals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_of_the_order() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
