//! The images that are mutated: stores on small drives, made by number and kept for the next input.

use std::cell::RefCell;
use std::rc::Rc;

use shingle_engine::{FormatOptions, Redundancy, Store, format};
use shingle_hal::Device;

use super::repair::Layout;
use crate::Drive;
use crate::harness::choices::Choices;
use crate::harness::life::Life;
use crate::harness::oracle::{Key, Oracle, State, Version};
use crate::harness::workload::{Op, Profile, draw_limits};
use crate::media::MediaSpec;

/// Small drives of each kind.
const MEDIA: [&str; 4] = [
    "smr-tiny:block=512,zone-kib=32,zones=40,conventional=3,timing=instant",
    "disk-tiny:block=512,zone-kib=32,zones=40,timing=instant",
    "smr-tiny:block=512,zone-kib=32,zones=40,conventional=0,timing=instant",
    "nor-1m:timing=instant,zone-kib=32",
];
/// Images there are.
pub(super) const IMAGES: u8 = 16;
/// Operations done to each.
const OPS: u64 = 240;
/// Keys of each at most.
const KEYS_MAX: Key = 96;

/// A store at rest, and what it holds.
pub(super) struct Image {
    pub(super) drive: Drive,
    /// Size of the key universe.
    pub(super) keys: Key,
    /// What each key holds.
    pub(super) now: State,
    /// What each key ever held.
    pub(super) ever: Vec<Vec<Version>>,
    /// Everything is in runs: there is no log to replay.
    pub(super) closed: bool,
    /// What lies where.
    pub(super) layout: Layout,
}

thread_local! {
    static KEPT: RefCell<Vec<(u8, Rc<Image>)>> = const { RefCell::new(Vec::new()) };
}

/// The image of this number, of [`IMAGES`].
///
/// # Errors
/// What went wrong while it was made.
pub(super) fn image(number: u8) -> Result<Rc<Image>, String> {
    let number = number % IMAGES;
    let known = KEPT.with_borrow(|kept| {
        kept.iter().find(|(known, _)| *known == number).map(|(_, image)| image.clone())
    });
    if let Some(image) = known {
        return Ok(image);
    }
    let image = Rc::new(make(number)?);
    KEPT.with_borrow_mut(|kept| kept.push((number, image.clone())));
    Ok(image)
}

fn make(number: u8) -> Result<Image, String> {
    let media = MEDIA[usize::from(number) % MEDIA.len()];
    let spec = MediaSpec::parse(media).map_err(|error| error.to_string())?;
    let capacity = spec.capacity_bytes();
    let drive = Drive::new(spec, u64::from(number));
    let mut choices = Choices::new(u64::from(number));
    let geometry = drive.geometry();
    let limits = draw_limits(&mut choices, &geometry);
    let mut profile = Profile::draw(&mut choices, &geometry, &limits, capacity);
    profile.keys = profile.keys.min(KEYS_MAX);
    let oracle = RefCell::new(Oracle::new(profile.keys));
    let mut ever = vec![Vec::new(); usize::from(profile.keys)];
    let mut memory = vec![0; 256 << 10];
    let options =
        FormatOptions { store_id: [number + 1; 16], limits, redundancy: Redundancy::NONE };
    let failed = |what: String| format!("image {number} on {media}: {what}");
    drive
        .block_on(format(&&drive, &mut memory, &options))
        .map_err(|error| failed(format!("format: {error:?}")))?;
    let store = drive
        .block_on(Store::open(&drive, &mut memory))
        .map_err(|error| failed(format!("open: {error:?}")))?;
    let life = Life::new(&store, &oracle, 0);
    let closed = (number / MEDIA.len() as u8).is_multiple_of(2);
    let last = if closed { Op::Checkpoint } else { Op::Sync };
    for turn in 0..=OPS {
        let live = oracle.borrow().live_bytes();
        let op = profile.draw_op(&mut choices, &(0..profile.keys), live);
        let op = if turn == OPS { last.clone() } else { op };
        let done = drive.block_on(life.step(&op, 0));
        done.map_err(|stop| failed(format!("{stop:?}")))?;
        for (key, version) in oracle.borrow().now() {
            let known: &mut Vec<Version> = &mut ever[usize::from(key)];
            if known.last() != Some(&version) {
                known.push(version);
            }
        }
    }
    life.drop_snapshots();
    drop(life);
    drop(store);
    let now = oracle.borrow().now();
    let layout = Layout::of(&drive, &limits);
    Ok(Image { keys: profile.keys, now, ever, closed, layout, drive })
}
