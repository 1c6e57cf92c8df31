//! The medium's own sequential write rate: what no engine can exceed, and so the measure of one.

use super::MediaSpec;
use crate::timing::{NorTiming, TimingSpec, ZnsTiming, disk};

impl MediaSpec {
    /// Bytes per second at which the medium takes one long sequential write to `zone`; `None` for
    /// a model without time.
    ///
    /// On a disk this is the rate under the head less track switches. On a ZNS SSD it is the least
    /// of what the zone's buffer, its dies, all channels and the link allow. On NOR it is the rate
    /// of programming, erasing not counted.
    #[must_use]
    pub fn sequential_rate_bytes_per_s(&self, zone: u32) -> Option<f64> {
        match &self.timing {
            TimingSpec::Instant => None,
            TimingSpec::Disk(spec) => Some(disk::sustained_bytes_per_s(spec, self, zone)),
            TimingSpec::Zns(spec) => Some(zns_rate(spec)),
            TimingSpec::Nor(spec) => Some(nor_rate(spec)),
        }
    }

    /// The mean sequential rate over `zones` in bytes per second: their bytes by the time it takes
    /// to write them one after another. `None` for a model without time or no zones.
    #[must_use]
    pub fn mean_rate_bytes_per_s(&self, zones: std::ops::Range<u32>) -> Option<f64> {
        let count = zones.len();
        let mut seconds_per_byte = 0.0;
        for zone in zones {
            seconds_per_byte += 1.0 / self.sequential_rate_bytes_per_s(zone)?;
        }
        (count > 0).then(|| count as f64 / seconds_per_byte)
    }

    /// The mean sequential rate over the whole drive in bytes per second; `None` for a model
    /// without time.
    #[must_use]
    pub fn drive_rate_bytes_per_s(&self) -> Option<f64> {
        self.mean_rate_bytes_per_s(0..self.zone_count)
    }
}

fn zns_rate(spec: &ZnsTiming) -> f64 {
    let unit = f64::from(spec.program_bytes);
    let load_s = unit / spec.channel_bytes_per_s as f64;
    let unit_s = load_s + f64::from(spec.program_ns) / 1e9;
    let dies = f64::from(spec.dies_per_zone.min(spec.buffer_units_per_zone));
    let channels = spec.channel_count.min(spec.dies_per_zone);
    let channel_rate = f64::from(channels) * spec.channel_bytes_per_s as f64;
    (dies * unit / unit_s).min(channel_rate).min(spec.host_bytes_per_s as f64)
}

fn nor_rate(spec: &NorTiming) -> f64 {
    let page = f64::from(spec.page_bytes);
    let program_s = f64::from(spec.command_ns) / 1e9 + f64::from(spec.program_ns) / 1e9;
    page / (page / spec.bus_bytes_per_s as f64 + program_s)
}
