//! The arm: how long it takes to come to a block, and where it stands.
//!
//! A seek takes `a + b √d` up to a third of the stroke and grows linearly beyond, so three figures
//! that data sheets give (shortest, mean, full stroke) determine it; then the head waits for its
//! block to come round.
//!
//! # Source
//! Ruemmler and Wilkes, "An introduction to disk drive modeling" (1994), for the shape.

use std::sync::Arc;

use super::layout::{Layout, STROKE};
use crate::media::MediaSpec;
use crate::timing::DiskTiming;

/// Rounding of angles must never cost a revolution: this much too late is in time.
const ANGLE_TOLERANCE_NS: u64 = 5_000;

/// The arm and its heads.
#[derive(Clone, Debug)]
pub(super) struct Arm {
    pub layout: Arc<Layout>,
    /// The block under the head, or next to come under it.
    lba: u64,
    /// The sequential zone written last.
    stream: Option<u32>,
    element_count: u32,
    conventional_zone_count: u32,
    seek_min_ns: u64,
    seek_third_ns: u64,
    seek_full_ns: u64,
    head_switch_ns: u64,
    track_switch_ns: u64,
    write_settle_ns: u64,
    stream_switch_ns: u64,
}

impl Arm {
    pub(super) fn new(spec: &DiskTiming, media: &MediaSpec) -> Self {
        let ns = |us: u32| u64::from(us) * 1000;
        Self {
            layout: Arc::new(Layout::new(spec, media)),
            lba: 0,
            stream: None,
            element_count: u32::from(media.element_count.max(1)),
            conventional_zone_count: media.conventional_zone_count,
            seek_min_ns: ns(spec.seek_min_us),
            seek_third_ns: ns(spec.seek_third_us).max(ns(spec.seek_min_us)),
            seek_full_ns: ns(spec.seek_full_us).max(ns(spec.seek_third_us)),
            head_switch_ns: ns(spec.head_switch_us),
            track_switch_ns: ns(spec.track_switch_us),
            write_settle_ns: ns(spec.write_settle_us),
            stream_switch_ns: ns(spec.stream_switch_us),
        }
    }

    /// The block the arm stands at.
    pub(super) fn lba(&self) -> u64 {
        self.lba
    }

    /// Whether `zone` has no write stream.
    pub(super) fn is_conventional(&self, zone: u32) -> bool {
        zone < self.conventional_zone_count
    }

    /// The arm now stands before `lba`, having written there or not.
    pub(super) fn moved(&mut self, lba: u64, wrote: Option<u64>) {
        self.lba = lba;
        if let Some(first) = wrote {
            self.stream = Some(self.layout.zone_of(first));
        }
    }

    /// Power came back: no stream is set up.
    pub(super) fn forget(&mut self) {
        self.stream = None;
    }

    /// Seek time over `distance` [`STROKE`]ths.
    fn seek_ns(&self, distance: u32) -> u64 {
        let share = f64::from(distance) / f64::from(STROKE);
        let third = 1.0 / 3.0;
        if share <= third {
            let rise = (self.seek_third_ns - self.seek_min_ns) as f64;
            self.seek_min_ns + (rise * (share * 3.0).sqrt()) as u64
        } else {
            let rise = (self.seek_full_ns - self.seek_third_ns) as f64;
            self.seek_third_ns + (rise * (share - third) * 1.5) as u64
        }
    }

    /// Time to bring the head onto the track of `lba`, before any rotation.
    fn move_ns(&self, lba: u64) -> u64 {
        if lba == self.lba && !lba.is_multiple_of(self.layout.zone_blocks) {
            return 0;
        }
        let (from, to) = (self.layout.zone_of(self.lba), self.layout.zone_of(lba));
        if from == to {
            let apart = self.layout.track_of(self.lba).abs_diff(self.layout.track_of(lba));
            return match apart {
                0 => 0,
                1 => self.track_switch_ns,
                _ => self.seek_min_ns,
            };
        }
        if lba == self.lba || (to == from + 1 && lba.is_multiple_of(self.layout.zone_blocks)) {
            // The skew between zones is made for this step.
            return self.head_switch_ns;
        }
        let distance = self.layout.zone(from).radius.abs_diff(self.layout.zone(to).radius);
        let seek_ns = self.seek_ns(distance);
        if from % self.element_count == to % self.element_count {
            seek_ns
        } else {
            seek_ns.max(self.head_switch_ns)
        }
    }

    /// Time from `now_ns` until `lba` can be read, rotation included.
    pub(super) fn read_delay_ns(&self, now_ns: u64, lba: u64) -> u64 {
        let move_ns = self.move_ns(lba);
        move_ns + self.rotation_ns(now_ns + move_ns, lba)
    }

    /// Time from `now_ns` until `lba` can be written, rotation included.
    pub(super) fn write_delay_ns(&self, now_ns: u64, lba: u64) -> u64 {
        let mut move_ns = self.move_ns(lba);
        if lba != self.lba {
            move_ns += self.write_settle_ns;
        }
        let zone = self.layout.zone_of(lba);
        let continues =
            self.stream == Some(zone) || (lba == self.lba && self.stream == zone.checked_sub(1));
        if !self.is_conventional(zone) && !continues {
            move_ns += self.stream_switch_ns;
        }
        move_ns + self.rotation_ns(now_ns + move_ns, lba)
    }

    /// Wait at `now_ns`, on the right track, until `lba` comes round.
    pub(super) fn rotation_ns(&self, now_ns: u64, lba: u64) -> u64 {
        let rev_ns = self.layout.rev_ns;
        let wait_ns = (self.layout.angle_ns(lba) + rev_ns - now_ns % rev_ns) % rev_ns;
        if wait_ns + ANGLE_TOLERANCE_NS >= rev_ns { 0 } else { wait_ns }
    }
}
