//! Where blocks are on the surfaces: radius, track, angle.
//!
//! Zone `z` lies on surface `z mod elements`; zones of one group (`z / elements`) are at one
//! radius, groups follow from the outer edge inwards. The rate falls linearly with radius, as at
//! constant linear density, so a share `f` of the capacity ends at the fraction `x` of the stroke
//! with `x - (1-k)x²/2 = f (1+k)/2`, `k` being the ratio of inner to outer rate.
//!
//! Tracks of a zone are skewed by the track switch, and zones against their predecessor by the
//! head switch: going on in LBA order never misses a revolution. An angle is given as the time
//! within a revolution at which it passes the head.
//!
//! # Source
//! Skews and zoned recording as in Ruemmler and Wilkes, "An introduction to disk drive modeling"
//! (1994).

use crate::media::MediaSpec;
use crate::timing::DiskTiming;

/// How finely the stroke is divided: radii are in 2^-30 of it.
pub(super) const STROKE: u32 = 1 << 30;

/// The surface layout of one zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZoneLayout {
    /// Distance from the outer edge in [`STROKE`]ths.
    pub radius: u32,
    /// Blocks on a track.
    pub track_blocks: u32,
    /// Angle of the first block, in nanoseconds of the revolution.
    pub start_ns: u32,
}

/// The layout of a disk.
#[derive(Debug)]
pub(super) struct Layout {
    /// Blocks of a zone.
    pub zone_blocks: u64,
    /// One revolution.
    pub rev_ns: u64,
    track_switch_ns: u64,
    head_switch_ns: u64,
    zones: Vec<ZoneLayout>,
}

impl Layout {
    pub(super) fn new(spec: &DiskTiming, media: &MediaSpec) -> Self {
        let rev_ns = 60_000_000_000 / u64::from(spec.rpm.max(1));
        let mut layout = Self {
            zone_blocks: u64::from(media.zone_blocks.max(1)),
            rev_ns,
            track_switch_ns: u64::from(spec.track_switch_us) * 1000,
            head_switch_ns: u64::from(spec.head_switch_us) * 1000,
            zones: Vec::with_capacity(media.zone_count as usize),
        };
        let mut start_ns = 0;
        for zone in 0..media.zone_count {
            let (radius, rate) = radius_and_rate(spec, media, zone);
            let track_bytes = rate * rev_ns as f64 / 1e9;
            let track_blocks = (track_bytes / f64::from(media.block_len_bytes)).round().max(1.0);
            let place = ZoneLayout {
                radius: (radius * f64::from(STROKE)) as u32,
                track_blocks: track_blocks as u32,
                start_ns: start_ns as u32,
            };
            layout.zones.push(place);
            let swept_ns = layout.within_ns(&place, layout.zone_blocks);
            start_ns = (start_ns + swept_ns + layout.head_switch_ns) % rev_ns;
        }
        layout
    }

    /// The zone that holds `lba`; the last one for an address past the end.
    pub(super) fn zone_of(&self, lba: u64) -> u32 {
        ((lba / self.zone_blocks) as usize).min(self.zones.len() - 1) as u32
    }

    pub(super) fn zone(&self, zone: u32) -> &ZoneLayout {
        &self.zones[zone as usize]
    }

    /// One past the last block.
    pub(super) fn end(&self) -> u64 {
        self.zones.len() as u64 * self.zone_blocks
    }

    /// The track of `lba` within its zone.
    pub(super) fn track_of(&self, lba: u64) -> u64 {
        let zone = self.zone_of(lba);
        (lba - u64::from(zone) * self.zone_blocks) / u64::from(self.zone(zone).track_blocks)
    }

    /// The angle of `lba`, in nanoseconds of the revolution.
    pub(super) fn angle_ns(&self, lba: u64) -> u64 {
        let zone = self.zone_of(lba);
        let place = self.zone(zone);
        let offset = lba - u64::from(zone) * self.zone_blocks;
        (u64::from(place.start_ns) + self.within_ns(place, offset)) % self.rev_ns
    }

    /// Time to sweep from the start of a zone over `offset` blocks.
    fn within_ns(&self, place: &ZoneLayout, offset: u64) -> u64 {
        let track_blocks = u64::from(place.track_blocks);
        let tracks = offset / track_blocks;
        let rest = offset % track_blocks;
        tracks * (self.rev_ns + self.track_switch_ns) + rest * self.rev_ns / track_blocks
    }

    /// Time to sweep `[from, to)` without a pause, switches included.
    pub(super) fn sweep_ns(&self, from: u64, to: u64) -> u64 {
        let mut total_ns = 0;
        let mut at = from;
        while at < to {
            let zone = self.zone_of(at);
            let place = self.zone(zone);
            let start = u64::from(zone) * self.zone_blocks;
            let end = to.min(start + self.zone_blocks);
            total_ns += self.within_ns(place, end - start) - self.within_ns(place, at - start);
            if end < to {
                total_ns += self.head_switch_ns;
            }
            at = end;
        }
        total_ns
    }

    /// The block that a sweep begun at `from` reaches after `spent_ns`, at most `limit`.
    pub(super) fn swept_to(&self, from: u64, spent_ns: u64, limit: u64) -> u64 {
        let mut at = from;
        let mut left_ns = spent_ns;
        while at < limit {
            let zone = self.zone_of(at);
            let start = u64::from(zone) * self.zone_blocks;
            let end = limit.min(start + self.zone_blocks);
            let whole_ns = self.sweep_ns(at, end);
            if left_ns < whole_ns {
                return self.swept_in_zone(zone, at, left_ns).min(end);
            }
            left_ns = (left_ns - whole_ns).saturating_sub(self.head_switch_ns);
            at = end;
        }
        limit
    }

    fn swept_in_zone(&self, zone: u32, from: u64, spent_ns: u64) -> u64 {
        let place = self.zone(zone);
        let start = u64::from(zone) * self.zone_blocks;
        let track_blocks = u64::from(place.track_blocks);
        let at_ns = self.within_ns(place, from - start) + spent_ns;
        let track_ns = self.rev_ns + self.track_switch_ns;
        let rest_ns = (at_ns % track_ns).min(self.rev_ns);
        start + at_ns / track_ns * track_blocks + rest_ns * track_blocks / self.rev_ns
    }
}

/// Where `zone` lies, as a fraction of the stroke, and its rate in bytes per second.
pub(super) fn radius_and_rate(spec: &DiskTiming, media: &MediaSpec, zone: u32) -> (f64, f64) {
    let elements = u32::from(media.element_count.max(1));
    let group_count = media.zone_count.div_ceil(elements).max(1);
    let share = (f64::from(zone / elements) + 0.5) / f64::from(group_count);
    let ratio = f64::from(spec.inner_rate_permille.clamp(1, 1000)) / 1000.0;
    let fall = 1.0 - ratio;
    let radius = if fall < 1e-9 {
        share
    } else {
        (1.0 - (1.0 - fall * share * (1.0 + ratio)).max(0.0).sqrt()) / fall
    };
    (radius, spec.outer_rate_bytes_per_s as f64 * (1.0 - fall * radius))
}

/// Sustained sequential rate of `zone` in bytes per second, track switches included.
pub(crate) fn sustained_bytes_per_s(spec: &DiskTiming, media: &MediaSpec, zone: u32) -> f64 {
    let (_, rate) = radius_and_rate(spec, media, zone);
    let rev_us = 60e6 / f64::from(spec.rpm.max(1));
    rate * rev_us / (rev_us + f64::from(spec.track_switch_us))
}
