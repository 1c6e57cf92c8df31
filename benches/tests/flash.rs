//! What this engine and the peers do on a NOR flash chip, on a small part of the work; and all of
//! it, when asked for:
//!
//! ```text
//! cargo test --release -p shingle-benches --test flash -- --ignored --nocapture
//! ```

use shingle_benches::experiment::flash::{
    Fetched, Figures, Work, Written, run, run_ekv, run_sequential, run_shingle,
};
use shingle_benches::subject::flash::Charge;
use shingle_benches::subject::on_flash::{ROLES, Setting};

fn print_written(what: &str, written: &Written) {
    println!(
        "  {what:10} WA {:6.2}  erased {:6.2}  reads/put {:7.2}  {:8.1} puts/s  longest {:8.1} ms",
        written.write_amplification(),
        written.erase_amplification(),
        written.reads_per_put(),
        written.puts_per_s(),
        written.longest_ns as f64 / 1e6,
    );
    if written.by_role.iter().any(|bytes| *bytes > 0) {
        let parts = ROLES.iter().zip(written.amplification_by_role());
        let parts: Vec<_> = parts.map(|(role, part)| format!("{role} {part:.2}")).collect();
        println!("             {}", parts.join(", "));
    }
}

fn print_fetched(what: &str, fetched: Option<&Fetched>) {
    let Some(fetched) = fetched else {
        println!("  {what:10} none");
        return;
    };
    println!(
        "  {what:10} reads {:9.2}  bytes {:10.0}  {:10.1} us",
        fetched.reads_per_op(),
        fetched.bytes_per_op(),
        fetched.us_per_op(),
    );
    if fetched.by_role.iter().any(|reads| *reads > 0) {
        let parts = ROLES.iter().zip(fetched.by_role);
        let parts =
            parts.map(|(role, reads)| format!("{role} {:.2}", reads as f64 / fetched.ops as f64));
        println!("             {}", parts.collect::<Vec<_>>().join(", "));
    }
}

fn print(figures: &Figures) {
    println!(
        "{} with {} bytes, {} erase blocks",
        figures.subject, figures.memory_bytes, figures.erase_blocks
    );
    print_written("load", &figures.load);
    print_written("overwrite", &figures.overwrite);
    print_fetched("get", Some(&figures.hit));
    print_fetched("miss", Some(&figures.miss));
    print_fetched("forward", figures.forward.as_ref());
    print_fetched("reverse", figures.reverse.as_ref());
    print_fetched("mount", figures.mount.as_ref());
    print_fetched("raw mount", figures.raw_mount.as_ref());
}

/// Half of the work, on half of the flash.
const DIVISOR: u64 = 2;

/// Figures of this engine with values apart, and of ekv, for a part of the work on as much of the
/// flash.
fn small(work: Work) -> (Figures, Figures) {
    let part = work.part(DIVISOR);
    let ours = run_shingle(&Setting::APART_KIB_64, part);
    let ekv = run_ekv(part, Charge::Share);
    print(&ours);
    print(&ekv);
    (ours, ekv)
}

/// What must hold of both.
fn judge(ours: &Figures, ekv: &Figures) {
    let (writes, peer) = (&ours.overwrite, &ekv.overwrite);
    assert!(writes.puts_per_s() > 2.0 * peer.puts_per_s(), "puts a second");
    assert!(writes.write_amplification() < peer.write_amplification(), "write amplification");
    assert!(2.0 * ours.hit.reads_per_op() < ekv.hit.reads_per_op(), "reads a get");
    assert!(ours.reverse.is_some() && ekv.reverse.is_none(), "reverse scans");
    let mount = ours.mount.expect("this engine reads when it is opened");
    assert!(mount.reads < ours.erase_blocks / 16, "reads when opened");
}

#[test]
fn batches_with_values_apart_write_less_than_ekv() {
    let (ours, ekv) = small(Work::BATCHES);
    judge(&ours, &ekv);
}

#[test]
fn single_puts_with_values_apart_write_less_than_ekv() {
    let (ours, ekv) = small(Work::SINGLES);
    judge(&ours, &ekv);
    assert!(ours.overwrite.puts_per_s() > 10.0 * ekv.overwrite.puts_per_s());
}

#[test]
fn sequential_storage_writes_least_and_reads_most() {
    let figures = run_sequential(Work::BATCHES.part(DIVISOR), Charge::Share);
    print(&figures);
    assert!(figures.overwrite.write_amplification() < 1.5);
    assert!(figures.miss.reads_per_op() > 1000.0);
    assert!(figures.forward.is_none());
}

#[test]
#[ignore = "takes minutes"]
fn all_of_it() {
    for (what, work) in [("batches of 100", Work::BATCHES), ("single puts", Work::SINGLES)] {
        println!("== {what}; parts of a page take peers their share of its time");
        run(work, Charge::Share).iter().for_each(print);
        println!("== {what}; parts of a page take peers as long as all of it");
        print(&run_ekv(work, Charge::Page));
        print(&run_sequential(work, Charge::Page));
    }
}
