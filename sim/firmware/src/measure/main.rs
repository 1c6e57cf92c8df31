//! What the engine costs on a Cortex-M7 (board `an500`), by counting: instructions of each
//! operation, bytes of its future, the depth of the stack, and the least memory of a drive.
//!
//! QEMU counts instructions (`-icount shift=6`): each takes 64 ns, by a SysTick of 40 ns. The store
//! is on NOR flash that is memory; instructions in the device are counted apart. It does everything
//! the engine can, so the program's size is that of the whole of it.
#![no_std]
#![no_main]

mod flash;
mod meter;
#[path = "../stack.rs"]
mod stack;

use core::ops::Bound;

use semihosting::process::ExitCode;
use semihosting::{eprintln, println};
use shingle_engine::{
    Batch, Condition, Direction, Durability, FormatOptions, Limits, Meta, Plan, ReadOptions,
    Redundancy, Store, WriteOptions, format,
};
use shingle_hal::adapt::nor::{NorLayout, NorSlot, NorZones};
use shingle_hal::{Device, Geometry, ZoneId, block_on};

use flash::{ERASE_LEN, FLASH_LEN, MemoryFlash};
use meter::{Clock, Cost, Metered};
use stack::Painted;

const LAYOUT: NorLayout = NorLayout { block_len_bytes: 512, zone_erase_blocks: 16 };
const ZONES: usize = FLASH_LEN / (16 * ERASE_LEN);
/// Memory of the store.
const STORE_LEN: usize = 64 << 10;
const VALUE_LEN_MAX: usize = 16 << 10;

static mut STORE: [u8; STORE_LEN] = [0; STORE_LEN];
static mut VALUE: [u8; VALUE_LEN_MAX] = [0; VALUE_LEN_MAX];
static mut FOUND: [u8; VALUE_LEN_MAX] = [0; VALUE_LEN_MAX];
static mut SCRATCH: [u8; VALUE_LEN_MAX] = [0; VALUE_LEN_MAX];
static mut SLOTS: [NorSlot; ZONES] = [NorSlot::NEW; ZONES];

/// Numbers that look like chance.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

/// A key of 16 bytes.
fn key(number: u32) -> [u8; 16] {
    let mut key = *b"key-000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

const SMALL: u32 = 2000;
const LARGE: u32 = 100;
const BUFFERED: WriteOptions<'static> = WriteOptions::BUFFERED;

/// What a failure says of itself; `Err` has been said then.
type Done = Result<(), ()>;

macro_rules! must {
    ($done:expr) => {
        match $done {
            Ok(done) => done,
            Err(error) => {
                eprintln!("line {}: {error:?}", line!());
                return Err(());
            }
        }
    };
}

/// Room for what goes into the store and out of it.
struct Room<'r> {
    value: &'r mut [u8],
    found: &'r mut [u8],
    scratch: &'r mut [u8],
}

/// Does everything, and says what each took.
async fn measure<D: Device>(
    device: &Metered<'_, D>,
    memory: &mut [u8],
    room: &mut Room<'_>,
) -> Done {
    let geometry = device.geometry();
    let limits = Limits::for_geometry(&geometry);
    let options = FormatOptions { store_id: [1; 16], limits, redundancy: Redundancy::NONE };
    println!("| operation | instructions | most | in the device | future, bytes |");
    println!("|---|---|---|---|---|");
    must!(Cost::of("format", device).take(format(&device, memory, &options)).await);
    {
        let opened = Cost::of("open, empty", device).take(Store::open(device, memory)).await;
        let store = must!(opened);
        put(&store, room.value).await?;
        get(&store, room.found).await?;
        walk(&store, room.scratch).await?;
        put_more(&store, room).await?;
        care(&store).await?;
        must!(Cost::of("close", device).take(store.close()).await);
    }
    must!(Cost::of("open, as it was closed", device).take(Store::open(device, memory)).await);
    Ok(())
}

/// The store that is measured.
type Shop<'m, 'c, D> = Store<'m, &'c Metered<'c, D>>;

async fn put<D: Device>(store: &Shop<'_, '_, D>, value: &[u8]) -> Done {
    let mut random = Random(1);
    let mut cost = Cost::of("put of 100 bytes", store.device());
    for number in 0..2 * SMALL {
        let key = key(if number < SMALL { number } else { random.below(SMALL) });
        must!(cost.take(store.put(&key, Meta::NONE, &value[..100], BUFFERED)).await);
    }
    drop(cost);
    let mut cost = Cost::of("put of 4 KiB", store.device());
    for _ in 0..5 * LARGE {
        let key = key(SMALL + random.below(LARGE));
        must!(cost.take(store.put(&key, Meta::NONE, &value[..4096], BUFFERED)).await);
    }
    drop(cost);
    let mut cost = Cost::of("put of 100 bytes, durable", store.device());
    for _ in 0..200 {
        let key = key(random.below(SMALL));
        let put = store.put(&key, Meta::NONE, &value[..100], WriteOptions::DURABLE);
        must!(cost.take(put).await);
    }
    Ok(())
}

async fn get<D: Device>(store: &Shop<'_, '_, D>, found: &mut [u8]) -> Done {
    let mut random = Random(2);
    for (what, from, count) in [
        ("get of 100 bytes", 0, SMALL),
        ("get of 4 KiB", SMALL, LARGE),
        ("get of a key that is absent", SMALL + LARGE, SMALL),
    ] {
        let mut cost = Cost::of(what, store.device());
        for _ in 0..500 {
            let key = key(from + random.below(count));
            must!(cost.take(store.get(&key, found, ReadOptions::default())).await);
        }
    }
    Ok(())
}

async fn walk<D: Device>(store: &Shop<'_, '_, D>, scratch: &mut [u8]) -> Done {
    for (what, direction) in
        [("step of a scan", Direction::Forward), ("step of a scan in reverse", Direction::Reverse)]
    {
        let (all, options) = (Bound::Unbounded, ReadOptions::default());
        let mut scan = must!(store.scan(all, all, direction, scratch, options).await);
        let mut cost = Cost::of(what, store.device());
        while must!(cost.take(scan.next()).await).is_some() {}
    }
    Ok(())
}

/// What is left of the ways to write, and streams both ways.
async fn put_more<D: Device>(store: &Shop<'_, '_, D>, room: &mut Room<'_>) -> Done {
    let mut random = Random(3);
    let mut cost = Cost::of("delete", store.device());
    for number in 0..200 {
        must!(cost.take(store.delete(&key(number), BUFFERED)).await);
    }
    drop(cost);
    let mut cost = Cost::of("batch of 4 puts of 100 bytes", store.device());
    for _ in 0..50 {
        let mut batch = Batch::new(room.scratch);
        for _ in 0..4 {
            let key = key(random.below(SMALL));
            must!(batch.put(&key, Meta::NONE, &room.value[..100], Condition::None));
        }
        must!(cost.take(store.write(&batch, Durability::Buffered)).await);
    }
    drop(cost);
    let mut cost = Cost::of("delete of a range", store.device());
    let (first, last) = (key(300), key(400));
    must!(cost.take(store.delete_range(&first, Some(&last), Durability::Buffered)).await);
    drop(cost);
    let (key, options) = (key(SMALL + 1), ReadOptions::default());
    let mut cost = Cost::of("put of 16 KiB from a stream", store.device());
    for _ in 0..5 {
        let (mut reader, len) = (&room.value[..], VALUE_LEN_MAX as u64);
        let put = store.put_from(&key, Meta::NONE, len, &mut reader, room.scratch, BUFFERED);
        must!(cost.take(put).await);
    }
    drop(cost);
    let mut cost = Cost::of("get of 16 KiB to a stream", store.device());
    for _ in 0..5 {
        let mut writer = &mut room.found[..];
        must!(cost.take(store.get_to(&key, &mut writer, room.scratch, options)).await);
    }
    Ok(())
}

async fn care<D: Device>(store: &Shop<'_, '_, D>) -> Done {
    let device = *store.device();
    must!(Cost::of("checkpoint", device).take(store.checkpoint()).await);
    let mut cost = Cost::of("step of maintenance", device);
    while must!(cost.take(store.maintain(1)).await) > 0 {}
    drop(cost);
    let mut cost = Cost::of("scrub of 64 KiB", device);
    while !must!(cost.take(store.scrub(64 << 10)).await).ended {}
    drop(cost);
    must!(Cost::of("evacuation of a zone", device).take(store.evacuate_zone(ZoneId(9))).await);
    must!(Cost::of("compaction of all", device).take(store.compact()).await);
    Ok(())
}

/// Least memory of drives of so many zones: small flash, and disks with zones of 256 MiB.
fn say_least_memory(flash: &Geometry) {
    println!("\n| drive | least memory, bytes | with keys up to 32 bytes and no metadata |");
    println!("|---|---|---|");
    let disk = Geometry {
        block_len_bytes: 4096,
        zone_blocks: 65_536,
        open_zones_max: Some(128),
        transfer_blocks_max: 256,
        ..*flash
    };
    for (what, geometry) in [
        ("flash, 64 zones", *flash),
        ("disk, 64 zones", Geometry { zone_count: 64, ..disk }),
        ("disk, 1000 zones", Geometry { zone_count: 1000, ..disk }),
        ("disk, 50 000 zones", Geometry { zone_count: 50_000, ..disk }),
    ] {
        let usual = Limits::for_geometry(&geometry);
        let short = Limits { key_len_max: 32, meta_len_max: 0, ..usual };
        let least = |limits| Plan::new(&geometry, &limits, 0).err().unwrap_or(0);
        println!("| {what} | {} | {} |", least(usual), least(short));
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    // SAFETY: this is the only thread, it runs once, and nothing else names these statics
    // or takes the flash.
    let (flash, store, value, found, scratch, slots) = unsafe {
        (
            MemoryFlash::take(),
            &mut *(&raw mut STORE),
            &mut *(&raw mut VALUE),
            &mut *(&raw mut FOUND),
            &mut *(&raw mut SCRATCH),
            &mut *(&raw mut SLOTS),
        )
    };
    for (number, byte) in value.iter_mut().enumerate() {
        *byte = (number * 31 % 251) as u8;
    }
    let zones = match NorZones::new(flash, slots, LAYOUT) {
        Ok(zones) => zones,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE.exit_process()
        }
    };
    let geometry = zones.geometry();
    let clock = Clock::start();
    let device = Metered::new(zones, &clock);
    // SAFETY: nothing is between the statics and the stack.
    let painted = unsafe { Painted::new() };
    let mut room = Room { value, found, scratch };
    let work = measure(&device, store, &mut room);
    let future_len = size_of_val(&work);
    let done = block_on(work);
    let used = painted.used_len().unwrap_or(usize::MAX);
    say_least_memory(&geometry);
    println!("\nstack {used} bytes, of which the program's future is {future_len}");
    let code = if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    code.exit_process()
}
