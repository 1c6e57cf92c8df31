//! The report: a page of Markdown with plots beside it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::goal::{Goal, shown, table};
use crate::measure::Phase;
use crate::plot::{self, Line};

/// Everything that a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    goals: Vec<Goal>,
    sections: Vec<Section>,
}

/// One experiment.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What was done on what, in a paragraph.
    pub about: String,
    /// What each phase came to.
    pub phases: Vec<Phase>,
    /// Lines of text below the table.
    pub notes: Vec<String>,
    /// Plots: file name, what the axes show, lines.
    pub plots: Vec<Plot>,
}

/// A plot of a section.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The file, without its ending.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What the axes are.
    pub axes: [String; 2],
    /// What is drawn.
    pub lines: Vec<Line>,
}

impl Section {
    /// An empty one.
    #[must_use]
    pub fn new(title: impl Into<String>, about: impl Into<String>) -> Self {
        let (title, about) = (title.into(), about.into());
        Self { title, about, phases: Vec::new(), notes: Vec::new(), plots: Vec::new() }
    }
}

impl Report {
    /// Adds an experiment and the goals that it was to show.
    pub fn add(&mut self, section: Section, goals: impl IntoIterator<Item = Goal>) {
        self.sections.push(section);
        self.goals.extend(goals);
    }

    /// The page. `how` says how it was made.
    #[must_use]
    pub fn page(&self, how: &str) -> String {
        let missed = self.goals.iter().filter(|goal| !goal.is_met()).count();
        let mut text = format!("# Measured\n\n{how}\n\n");
        if !self.goals.is_empty() {
            let _ = writeln!(text, "{} goals, {missed} missed.\n", self.goals.len());
            text += &table(&self.goals);
        }
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n\n{}\n\n", section.title, section.about);
            text += &phases(&section.phases);
            for note in &section.notes {
                let _ = write!(text, "\n{note}\n");
            }
            for plot in &section.plots {
                let _ = write!(text, "\n![{}]({}.svg)\n", plot.title, plot.name);
            }
        }
        text
    }

    /// Writes the page as `name` with the ending `.md`, and the plots beside it, into `folder`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path, name: &str, how: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for plot in self.sections.iter().flat_map(|section| &section.plots) {
            let path = folder.join(format!("{}.svg", plot.name));
            plot::draw(&path, &plot.title, &plot.axes, &plot.lines).map_err(io::Error::other)?;
        }
        fs::write(folder.join(format!("{name}.md")), self.page(how))
    }
}

/// Phases as a table.
fn phases(phases: &[Phase]) -> String {
    if phases.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "| engine | work | ops | ops/s | MB/s | write amp. | space amp. | reads/op \
         | p50 ms | p99 ms | p99.9 ms | p99.99 ms | longest ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for phase in phases {
        let wrote = phase.written_bytes() > 0;
        let amplification = if wrote { shown(phase.write_amplification()) } else { String::new() };
        let quantiles = [0.5, 0.99, 0.999, 0.9999].map(|share| shown(phase.latency_ms(share)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {amplification} | {} | {} | {} | {} |",
            phase.subject,
            phase.work,
            phase.ops,
            rate(phase.ops_per_s()),
            rate(phase.bytes_per_s() / 1e6),
            shown(phase.space_amplification()),
            shown(phase.reads_per_op()),
            quantiles.join(" | "),
            shown(phase.longest_ms()),
        );
    }
    text
}

/// A rate; what took no time of the device has none.
fn rate(figure: f64) -> String {
    if figure.is_finite() { shown(figure) } else { "memory".to_owned() }
}
