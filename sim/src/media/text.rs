//! A drive given as text: a name, then settings that override its figures.
//!
//! ```text
//!   smr-15tb
//!   smr:zones=1000,zone-mib=4,conventional=8,open=32,elements=16
//!   zns-tiny:active=none,timing=instant
//! ```
//!
//! A family name (`smr`, `disk`, `zns`, `nor`) stands for its usual member. A new zone size keeps
//! the share of it that can be written, a new zone count keeps the share of conventional zones.

use super::spec::{MediaError, MediaSpec};
use crate::timing::TimingSpec;

/// What can be set.
pub const SETTINGS: [&str; 15] = [
    "name",
    "zones",
    "block",
    "zone-kib",
    "zone-mib",
    "capacity-kib",
    "capacity-mib",
    "conventional",
    "open",
    "active",
    "transfer-kib",
    "elements",
    "cache-kib",
    "rpm",
    "timing",
];

/// Settings as given; what is absent stays as it is in the base.
#[derive(Default)]
struct Settings {
    name: Option<String>,
    zones: Option<u64>,
    block: Option<u64>,
    zone_bytes: Option<u64>,
    capacity_bytes: Option<u64>,
    conventional: Option<u64>,
    open: Option<Option<u64>>,
    active: Option<Option<u64>>,
    transfer_bytes: Option<u64>,
    elements: Option<u64>,
    cache_bytes: Option<u64>,
    rpm: Option<u64>,
    instant: bool,
}

impl MediaSpec {
    /// The drive that `text` names: `name` or `name:setting=value,...`.
    ///
    /// # Errors
    /// If there is no such drive or setting, a value is not in its range, or the figures do not fit
    /// together.
    pub fn parse(text: &str) -> Result<Self, MediaError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let unknown = || MediaError::UnknownMedia(name.to_owned());
        let mut spec = Self::by_name(name.trim()).ok_or_else(unknown)?;
        if rest.trim().is_empty() {
            return Ok(spec);
        }
        let mut settings = Settings::default();
        for pair in rest.split(',') {
            let (setting, value) = pair.split_once('=').unwrap_or((pair, ""));
            settings.take(setting.trim(), value.trim())?;
        }
        settings.apply(&mut spec)?;
        text.clone_into(&mut spec.name);
        if let Some(name) = settings.name {
            spec.name = name;
        }
        spec.check()?;
        Ok(spec)
    }
}

impl Settings {
    fn take(&mut self, setting: &str, value: &str) -> Result<(), MediaError> {
        let bad = || bad_value(setting, value);
        let number = || value.parse::<u64>().map_err(|_| bad());
        let scaled = |unit: u64| number()?.checked_mul(unit).ok_or_else(bad);
        let limit = || match value {
            "none" => Ok(None),
            _ => number().map(Some),
        };
        match setting {
            "name" => self.name = Some(value.to_owned()),
            "zones" => self.zones = Some(number()?),
            "block" => self.block = Some(number()?),
            "zone-kib" => self.zone_bytes = Some(scaled(1 << 10)?),
            "zone-mib" => self.zone_bytes = Some(scaled(1 << 20)?),
            "capacity-kib" => self.capacity_bytes = Some(scaled(1 << 10)?),
            "capacity-mib" => self.capacity_bytes = Some(scaled(1 << 20)?),
            "conventional" => self.conventional = Some(number()?),
            "open" => self.open = Some(limit()?),
            "active" => self.active = Some(limit()?),
            "transfer-kib" => self.transfer_bytes = Some(scaled(1 << 10)?),
            "elements" => self.elements = Some(number()?),
            "cache-kib" => self.cache_bytes = Some(scaled(1 << 10)?),
            "rpm" => self.rpm = Some(number()?),
            "timing" if value == "instant" => self.instant = true,
            "timing" => return Err(bad()),
            _ => return Err(MediaError::UnknownSetting(setting.to_owned())),
        }
        Ok(())
    }

    fn apply(&self, spec: &mut MediaSpec) -> Result<(), MediaError> {
        let old_block = u64::from(spec.block_len_bytes);
        let old_zone_bytes = u64::from(spec.zone_blocks) * old_block;
        let old_capacity_bytes = spec.zone_capacity_bytes();
        let old_transfer_bytes = u64::from(spec.transfer_blocks_max) * old_block;
        let block = self.block.unwrap_or(old_block);
        if !block.is_power_of_two() || block > 65_536 {
            return Err(bad_value("block", &block.to_string()));
        }
        let zone_bytes = self.zone_bytes.unwrap_or(old_zone_bytes);
        let share = u128::from(zone_bytes) * u128::from(old_capacity_bytes);
        let kept_bytes = (share / u128::from(old_zone_bytes)) as u64 / block * block;
        let capacity_bytes = self.capacity_bytes.unwrap_or(kept_bytes);
        let transfer_bytes = self.transfer_bytes.unwrap_or(old_transfer_bytes);

        spec.block_len_bytes = narrow("block", block)?;
        spec.zone_blocks = blocks("zone size", zone_bytes, block)?;
        spec.zone_capacity_blocks = blocks("zone capacity", capacity_bytes, block)?;
        spec.transfer_blocks_max = blocks("transfer", transfer_bytes.max(block), block)?;
        if let Some(zones) = self.zones {
            let old = u64::from(spec.zone_count.max(1));
            let kept = u128::from(spec.conventional_zone_count) * u128::from(zones);
            spec.zone_count = narrow("zones", zones)?;
            spec.conventional_zone_count = (kept / u128::from(old)) as u32;
        }
        if let Some(conventional) = self.conventional {
            spec.conventional_zone_count = narrow("conventional", conventional)?;
        }
        if let Some(open) = self.open {
            spec.open_zones_max = open.map(|count| narrow("open", count)).transpose()?;
        }
        if let Some(active) = self.active {
            spec.active_zones_max = active.map(|count| narrow("active", count)).transpose()?;
        }
        if let Some(elements) = self.elements {
            let bad = |_| bad_value("elements", &elements.to_string());
            spec.element_count = u16::try_from(elements).map_err(bad)?;
        }
        self.apply_timing(&mut spec.timing)
    }

    fn apply_timing(&self, timing: &mut TimingSpec) -> Result<(), MediaError> {
        if let TimingSpec::Disk(disk) = timing {
            if let Some(cache_bytes) = self.cache_bytes {
                disk.cache_bytes = cache_bytes;
            }
            if let Some(rpm) = self.rpm {
                let known = (1_000..=20_000).contains(&rpm);
                let rpm = if known {
                    rpm
                } else {
                    return Err(bad_value("rpm", &rpm.to_string()));
                };
                disk.rpm = narrow("rpm", rpm)?;
            }
        } else if let Some(value) = self.cache_bytes {
            return Err(bad_value("cache-kib", &(value >> 10).to_string()));
        } else if let Some(value) = self.rpm {
            return Err(bad_value("rpm", &value.to_string()));
        }
        if self.instant {
            *timing = TimingSpec::Instant;
        }
        Ok(())
    }
}

fn bad_value(setting: &str, value: &str) -> MediaError {
    MediaError::BadValue { setting: setting.to_owned(), value: value.to_owned() }
}

fn narrow(setting: &str, value: u64) -> Result<u32, MediaError> {
    u32::try_from(value).map_err(|_| bad_value(setting, &value.to_string()))
}

/// `bytes` in whole blocks.
fn blocks(setting: &str, bytes: u64, block: u64) -> Result<u32, MediaError> {
    if !bytes.is_multiple_of(block) {
        let value = format!("{bytes} bytes, which is no multiple of the block");
        return Err(bad_value(setting, &value));
    }
    narrow(setting, bytes / block)
}
