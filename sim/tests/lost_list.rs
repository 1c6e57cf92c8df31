//! A value in fragments of which some were moved, and the list of their new places is gone with an
//! element: the old list is in force again, names a zone that is no more, and says so.

use std::convert::Infallible;

use crate::shelf::{MEDIA, MEMORY_LEN, Model, Shop, lost_by_list, new_drive, open, plan, put};
use embedded_io_async::{ErrorType, Read};
use shingle_engine::zone::Role;
use shingle_engine::{Meta, ReadError, ReadOptions, WriteOptions};
use shingle_hal::ZoneId;
use shingle_sim::{Drive, Outcome, synthetic};

const LEN: usize = 400_000;
const STREAMED: u32 = 1_000_000;

/// Gives a value, and takes a checkpoint of the store when most of it was given.
struct Reader<'s, 'm, 'd> {
    store: &'s Shop<'m, 'd>,
    value: Vec<u8>,
    at: usize,
    flushed: bool,
}

impl ErrorType for Reader<'_, '_, '_> {
    type Error = Infallible;
}

impl Read for Reader<'_, '_, '_> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        if self.at > LEN * 3 / 4 && !self.flushed {
            self.flushed = true;
            self.store.checkpoint().await.expect("checkpoint");
        }
        let len = out.len().min(self.value.len() - self.at);
        out[..len].copy_from_slice(&self.value[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

fn head(store: &Shop<'_, '_>, role: Role) -> Option<ZoneId> {
    let mut uses = (0..240).filter_map(|zone| store.zone_use(ZoneId(zone)));
    uses.find(|zone| zone.role == role && zone.head).map(|zone| zone.zone)
}

/// Panics unless the streamed value is damaged and listed, and all else is there.
fn assert_lost(drive: &Drive, store: &Shop<'_, '_>, when: &str) {
    let mut out = vec![0; LEN];
    let name = crate::shelf::key(STREAMED);
    let got = drive.block_on(store.get(&name, &mut out, ReadOptions::default()));
    assert!(matches!(got, Err(ReadError::Damaged(_))), "{when}: {got:?}");
    let known = drive.block_on(store.get_meta(&name, &mut [], ReadOptions::default()));
    let known = known.expect("its key is there").expect("its key is there");
    assert_eq!(known.value_len, LEN as u64, "{when}");
    assert!(lost_by_list(drive, store).contains(&STREAMED), "{when}: it is not listed");
}

fn cut(drive: &Drive, seed: u64) {
    drive.cut_after(0);
    drive.power_on(Outcome::Seeded(seed));
}

#[test]
fn value_whose_moved_fragment_is_gone_is_damaged_through_cuts_and_reclaim() {
    let mut rounds = 0;
    for seed in 0..12u32 {
        let drive = new_drive(MEDIA, true);
        let mut memory = vec![0; 24 * MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        for index in 0..3 + seed {
            put(&drive, &store, &mut model, index, 0);
        }
        let first = head(&store, Role::Log).expect("the log has a head");
        let value = synthetic::value(7, LEN);
        let mut reader = Reader { store: &store, value, at: 0, flushed: false };
        let (name, options) = (crate::shelf::key(STREAMED), WriteOptions::DURABLE);
        let mut buffer = vec![0; 40_000];
        let len = LEN as u64;
        let streamed = store.put_from(&name, Meta::NONE, len, &mut reader, &mut buffer, options);
        drive.block_on(streamed).expect("put");
        let last = head(&store, Role::Log).expect("the log has a head");
        assert_ne!(first, last, "seed {seed}: the value begins and ends in different zones");
        // The first fragments move; the list of their new places is in the survivors' log alone.
        drive.block_on(store.evacuate_zone(first)).expect("evacuate");
        let mut steps = 0;
        while store.zone_use(first).is_some_and(|zone| zone.role != Role::Retired) {
            drive.block_on(store.maintain(1)).expect("maintain");
            steps += 1;
            assert!(steps < 1000, "seed {seed}: it is not emptied");
        }
        let cold = head(&store, Role::Cold).expect("survivors have a head");
        drop(store);
        cut(&drive, seed.into());
        if cold.0 % 4 == last.0 % 4 {
            continue; // the old list is gone too
        }
        rounds += 1;
        let dies = format!("element-lost sticky element={} at=request:0", cold.0 % 4);
        drive.set_faults(&plan(&dies), 1);
        let store = open(&drive, &mut memory);
        assert_lost(&drive, &store, &format!("seed {seed}, {cold} is gone"));
        drop(store);
        cut(&drive, 1);
        let store = open(&drive, &mut memory);
        assert_lost(&drive, &store, &format!("seed {seed}, after a cut"));
        // What is left of it moves as well.
        drive.block_on(store.evacuate_zone(last)).expect("evacuate");
        drive.block_on(store.maintain(2000)).expect("maintain");
        assert_eq!(store.zone_use(last).map(|zone| zone.role), Some(Role::Retired));
        assert_lost(&drive, &store, &format!("seed {seed}, moved again"));
        drop(store);
        cut(&drive, 2);
        let store = open(&drive, &mut memory);
        assert_lost(&drive, &store, &format!("seed {seed}, moved again, after a cut"));
        drive.block_on(store.compact()).expect("compact");
        assert_lost(&drive, &store, &format!("seed {seed}, merged"));
        put(&drive, &store, &mut model, STREAMED, 3);
        assert!(!lost_by_list(&drive, &store).contains(&STREAMED), "it was overwritten");
        store.check_invariants();
    }
    assert!(rounds > 3, "{rounds} rounds");
}
