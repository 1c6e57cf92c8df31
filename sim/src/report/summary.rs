//! The page at the end of a demonstration, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::zones::{ZoneView, role_name, sums};

/// Losses that are named; more are only counted.
const LOSSES_SHOWN: usize = 20;

/// Figures of a demonstration. Times ending in `_s` are virtual but `wall_s`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) media: String,
    pub(crate) capacity_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) seed: u64,
    pub(crate) source: String,
    pub(crate) files: u64,
    pub(crate) file_bytes: u64,
    /// Bytes of files acknowledged, files put again included.
    pub(crate) import_bytes: u64,
    pub(crate) import_time_s: f64,
    pub(crate) import_written_bytes: u64,
    /// The first filling with large values.
    pub(crate) bulk_bytes: u64,
    pub(crate) bulk_time_s: f64,
    pub(crate) bulk_written_bytes: u64,
    /// Overwriting and deleting.
    pub(crate) churn_bytes: u64,
    pub(crate) churn_written_bytes: u64,
    /// Sequential rate of the media over the zones filled.
    pub(crate) media_rate: Option<f64>,
    /// Bytes in zones that are not free, and bytes of keys, metadata and values that are there.
    pub(crate) used_bytes: u64,
    pub(crate) live_bytes: u64,
    /// Bytes in zones that are not free once everything was merged; `None` if there was no room to.
    pub(crate) compacted_bytes: Option<u64>,
    pub(crate) keys: u64,
    pub(crate) reads_per_get: f64,
    pub(crate) get_ms: f64,
    pub(crate) cuts: u32,
    pub(crate) recovery_cuts: u32,
    pub(crate) opened_without_power: u32,
    pub(crate) checks: u64,
    /// Virtual milliseconds and reads of each recovery, sorted each.
    pub(crate) recovery_ms: Vec<f64>,
    pub(crate) recovery_reads: Vec<u64>,
    pub(crate) flushes: u64,
    pub(crate) merges: u64,
    pub(crate) reclaims: u64,
    pub(crate) moved_bytes: u64,
    pub(crate) losses: Vec<String>,
    pub(crate) wall_s: f64,
}

fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 }
}

fn middle<T: Copy + Default>(sorted: &[T]) -> T {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn last<T: Copy + Default>(sorted: &[T]) -> T {
    sorted.last().copied().unwrap_or_default()
}

impl Summary {
    fn bulk_rate(&self) -> f64 {
        rate(self.bulk_bytes, self.bulk_time_s)
    }

    fn share(&self) -> Option<f64> {
        self.media_rate.map(|media| self.bulk_rate() / media)
    }

    /// The page.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let verdict = match self.losses.len() {
            0 => "every acknowledged byte came back".to_owned(),
            count => format!("{count} THINGS ACKNOWLEDGED WERE LOST"),
        };
        let _ = writeln!(
            text,
            "\n{} power cuts, {} more during recovery: {verdict}",
            self.cuts, self.recovery_cuts
        );
        for loss in self.losses.iter().take(LOSSES_SHOWN) {
            let _ = writeln!(text, "  LOST: {loss}");
        }
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let share = self.share().map_or(String::new(), |share| {
            let media = self.media_rate.unwrap_or(0.0) / 1e6;
            format!(", {:.1} % of the media's {media:.1} MB/s", 100.0 * share)
        });
        let live = 100.0 * ratio(self.live_bytes, self.capacity_bytes);
        let compacted = self.compacted_bytes.map_or_else(
            || "no room to compact".to_owned(),
            |bytes| format!("after a compaction {:.2}", ratio(bytes, self.live_bytes)),
        );
        let recoveries = self.recovery_ms.len();
        let rows = [
            (
                "files",
                format!(
                    "{} with {:.1} MB, compared byte for byte",
                    self.files,
                    mb(self.file_bytes)
                ),
            ),
            ("comparisons", format!("{} of files and values in all", self.checks)),
            (
                "recovery",
                format!(
                    "{:.0} ms median, {:.0} ms worst; \
                     {} reads median, {} worst; {recoveries} measured",
                    middle(&self.recovery_ms),
                    last(&self.recovery_ms),
                    middle(&self.recovery_reads),
                    last(&self.recovery_reads)
                ),
            ),
            (
                "import",
                format!(
                    "{:.1} MB/s, eight files in flight, each durable before it is \
                     acknowledged; write amplification {:.2}",
                    rate(self.import_bytes, self.import_time_s) / 1e6,
                    ratio(self.import_written_bytes, self.import_bytes)
                ),
            ),
            (
                "filling",
                format!(
                    "{:.0} MB at {:.1} MB/s{share}",
                    mb(self.bulk_bytes),
                    self.bulk_rate() / 1e6
                ),
            ),
            (
                "",
                format!(
                    "write amplification {:.3}",
                    ratio(self.bulk_written_bytes, self.bulk_bytes)
                ),
            ),
            (
                "overwriting",
                format!(
                    "{:.0} MB at {live:.0} % full; write amplification {:.2}",
                    mb(self.churn_bytes),
                    ratio(self.churn_written_bytes, self.churn_bytes)
                ),
            ),
            (
                "background",
                format!(
                    "{} flushes, {} merges, {} zones reclaimed, {:.0} MB moved",
                    self.flushes,
                    self.merges,
                    self.reclaims,
                    mb(self.moved_bytes)
                ),
            ),
            (
                "space",
                format!(
                    "{:.0} MB live in {:.0} MB: space amplification {:.2}; {compacted}",
                    mb(self.live_bytes),
                    mb(self.used_bytes),
                    ratio(self.used_bytes, self.live_bytes)
                ),
            ),
            (
                "get",
                format!(
                    "{:.2} device reads, {:.1} ms, at random over {} keys",
                    self.reads_per_get, self.get_ms, self.keys
                ),
            ),
            (
                "memory",
                format!("{:.1} MiB for the store", self.memory_bytes as f64 / f64::from(1 << 20)),
            ),
            (
                "took",
                format!(
                    "{:.0} s here; the times above are the drive's; seed {}",
                    self.wall_s, self.seed
                ),
            ),
        ];
        for (name, row) in rows {
            let _ = writeln!(text, "  {name:<13}{row}");
        }
        text
    }

    /// The page for programs; numbers in bytes, seconds and shares.
    pub(crate) fn json(&self, views: &[ZoneView]) -> Value {
        let roles: Vec<Value> = sums(views)
            .iter()
            .map(|sum| {
                let role = role_name(sum.role);
                json!({ "role": role, "zones": sum.zones, "fill": sum.fill, "live": sum.live })
            })
            .collect();
        json!({
            "media": self.media,
            "capacity_bytes": self.capacity_bytes,
            "memory_bytes": self.memory_bytes,
            "seed": self.seed,
            "source": self.source,
            "files": self.files,
            "file_bytes": self.file_bytes,
            "lost": self.losses.len(),
            "losses": self.losses,
            "checks": self.checks,
            "cuts": self.cuts,
            "recovery_cuts": self.recovery_cuts,
            "opened_without_power": self.opened_without_power,
            "recoveries": self.recovery_ms.len(),
            "recovery_ms_median": middle(&self.recovery_ms),
            "recovery_ms_max": last(&self.recovery_ms),
            "recovery_reads_median": middle(&self.recovery_reads),
            "recovery_reads_max": last(&self.recovery_reads),
            "import": {
                "bytes": self.import_bytes,
                "seconds": self.import_time_s,
                "write_amplification": ratio(self.import_written_bytes, self.import_bytes),
            },
            "fill": {
                "bytes": self.bulk_bytes,
                "seconds": self.bulk_time_s,
                "bytes_per_s": self.bulk_rate(),
                "media_bytes_per_s": self.media_rate,
                "share_of_media_rate": self.share(),
                "write_amplification": ratio(self.bulk_written_bytes, self.bulk_bytes),
            },
            "overwrite": {
                "bytes": self.churn_bytes,
                "write_amplification": ratio(self.churn_written_bytes, self.churn_bytes),
            },
            "flushes": self.flushes,
            "merges": self.merges,
            "reclaims": self.reclaims,
            "moved_bytes": self.moved_bytes,
            "live_bytes": self.live_bytes,
            "used_bytes": self.used_bytes,
            "space_amplification": ratio(self.used_bytes, self.live_bytes),
            "compacted_bytes": self.compacted_bytes,
            "space_amplification_compacted":
                self.compacted_bytes.map(|bytes| ratio(bytes, self.live_bytes)),
            "keys": self.keys,
            "reads_per_get": self.reads_per_get,
            "get_ms": self.get_ms,
            "wall_s": self.wall_s,
            "roles": roles,
            "zones": views.iter().map(ZoneView::json).collect::<Vec<_>>(),
        })
    }
}
