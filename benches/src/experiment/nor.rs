//! The section on NOR flash: this engine beside those made for it.

use super::Scale;
use super::flash::{Fetched, Figures, Work, run_ekv, run_sequential, run_shingle};
use crate::goal::{Bound, Goal, shown};
use crate::report::Section;
use crate::subject::flash::Charge;
use crate::subject::on_flash::Setting;

/// The experiment and its goals.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    // On less of the flash its zones are too few for so much data.
    let divisor = if scale == Scale::Full { 1 } else { 2 };
    let about = "Values of 100 B on a simulated 16 MiB chip at 35 % fill (single puts: 14 %), \
                 each key overwritten three times. ekv and sequential-storage have the same \
                 timing, and pay for a part of a page what that part is of it. Memory of this \
                 engine is what it was handed and the size of `Store`.";
    let mut section = Section::new("NOR flash", about);
    let mut table = String::from(
        "| work | engine | memory | write amp. | puts/s | longest ms | reads a get | reads a miss \
         | reverse | reads to open |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut goals = Vec::new();
    for (name, work, most) in
        [("batches of 100", Work::BATCHES, 7.0), ("single", Work::SINGLES, 6.0)]
    {
        let work = work.part(divisor);
        let ours = run_shingle(&Setting::APART_KIB_64, work);
        let ekv = run_ekv(work, Charge::Share);
        let sequential = run_sequential(work, Charge::Share);
        for figures in [&ours, &ekv, &sequential] {
            table += &row(name, figures);
        }
        goals.extend(judge(name, &ours, &ekv, most));
    }
    section.notes.push(table);
    (section, goals)
}

fn judge(name: &str, ours: &Figures, ekv: &Figures, most: f64) -> [Goal; 4] {
    let amplification = ours.overwrite.write_amplification();
    let mount = ours.mount.map_or(0, |mount| mount.reads);
    [
        Goal::new(format!("NOR, {name}: write amplification"), amplification, Bound::AtMost(most)),
        Goal::against(
            format!("NOR, {name}: puts a second"),
            ours.overwrite.puts_per_s(),
            ("ekv", ekv.overwrite.puts_per_s()),
            Bound::AtLeast(2.0),
        ),
        Goal::new(format!("NOR, {name}: reads a get"), ours.hit.reads_per_op(), Bound::AtMost(4.0)),
        Goal::new(
            format!("NOR, {name}: reads to open, an erase block"),
            mount as f64 / ours.erase_blocks.max(1) as f64,
            Bound::AtMost(1.0),
        ),
    ]
}

fn row(work: &str, figures: &Figures) -> String {
    let reads = |fetched: &Fetched| shown(fetched.reads_per_op());
    let mount = figures.mount.map_or_else(String::new, |mount| mount.reads.to_string());
    format!(
        "| {work} | {} | {} | {} | {} | {} | {} | {} | {} | {mount} |\n",
        figures.subject,
        figures.memory_bytes,
        shown(figures.overwrite.write_amplification()),
        shown(figures.overwrite.puts_per_s()),
        shown(figures.overwrite.longest_ns as f64 / 1e6),
        reads(&figures.hit),
        reads(&figures.miss),
        if figures.reverse.is_some() { "yes" } else { "no" },
    )
}
