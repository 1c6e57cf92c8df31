//! A program for a microcontroller that uses the whole engine and links without an allocator.
//! `.ci/run` builds it in a crate of its own; it is never run.
#![no_std]
#![no_main]

use core::cell::RefCell;
use core::hint::black_box;
use core::panic::PanicInfo;

use shingle_engine::{
    FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::{
    BlockCount, Device, ElementId, Error, ErrorKind, Geometry, Lba, Request, ZoneCondition,
    ZoneDescriptor, ZoneId, ZoneType, block_on,
};

const BLOCK_LEN: usize = 512;
const ZONES: u32 = 40;
const ZONE_BLOCKS: u32 = 8;

/// Zones in RAM, all of them conventional: enough for the types to be real.
struct Ram(RefCell<&'static mut [u8]>);

#[derive(Clone, Copy, Debug)]
struct Failed;

impl Error for Failed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotReady
    }
}

impl Device for Ram {
    type Error = Failed;

    fn geometry(&self) -> Geometry {
        Geometry {
            block_len_bytes: BLOCK_LEN as u32,
            zone_count: ZONES,
            zone_blocks: ZONE_BLOCKS,
            open_zones_max: None,
            active_zones_max: None,
            transfer_blocks_max: 8,
            buffer_align_bytes: 1,
            element_count: 1,
        }
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), Failed> {
        let at = start.0 as usize * BLOCK_LEN;
        let media = self.0.borrow();
        buf.copy_from_slice(media.get(at..at + buf.len()).ok_or(Failed)?);
        Ok(())
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), Failed> {
        let at = start.0 as usize * BLOCK_LEN;
        let mut media = self.0.borrow_mut();
        media.get_mut(at..at + data.len()).ok_or(Failed)?.copy_from_slice(data);
        Ok(())
    }

    async fn sync(&self) -> Result<(), Failed> {
        Ok(())
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, Failed> {
        let left = ZONES.saturating_sub(first.0) as usize;
        let count = out.len().min(left);
        for (zone, id) in out[..count].iter_mut().zip(first.0..) {
            *zone = ZoneDescriptor {
                zone: ZoneId(id),
                zone_type: ZoneType::Conventional,
                condition: ZoneCondition::NotWritePointer,
                start: Lba(u64::from(id * ZONE_BLOCKS)),
                capacity: BlockCount(ZONE_BLOCKS),
                write_pointer: BlockCount(0),
                element: ElementId(0),
            };
        }
        Ok(count)
    }

    async fn open(&self, _: ZoneId) -> Result<(), Failed> {
        Ok(())
    }
    async fn close(&self, _: ZoneId) -> Result<(), Failed> {
        Ok(())
    }
    async fn finish(&self, _: ZoneId) -> Result<(), Failed> {
        Ok(())
    }
    async fn reset(&self, _: ZoneId) -> Result<(), Failed> {
        Ok(())
    }
}

async fn use_store(device: Ram, memory: &mut [u8]) -> Option<()> {
    let limits = Limits::for_geometry(&device.geometry());
    let redundancy = Redundancy::NONE;
    let options = FormatOptions { store_id: black_box([7; 16]), limits, redundancy };
    format(&device, memory, &options).await.ok()?;
    let store = Store::open(device, memory).await.ok()?;
    store.put(b"key", Meta::NONE, black_box(b"value"), WriteOptions::DURABLE).await.ok()?;
    let mut value = [0; 16];
    let found = store.get(b"key", &mut value, ReadOptions::default()).await.ok()?;
    black_box((found, value));
    store.delete_range(b"a", Some(b"z"), Default::default()).await.ok()?;
    store.maintain(black_box(100)).await.ok()?;
    store.compact().await.ok()?;
    store.close().await.ok().map(drop)
}

/// Where the linker expects the program to begin.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    // Addresses as a board would have them: RAM that nothing else in this program uses.
    let media = unsafe { core::slice::from_raw_parts_mut(0x2002_0000 as *mut u8, 160 << 10) };
    let memory = unsafe { core::slice::from_raw_parts_mut(0x2001_0000 as *mut u8, 32 << 10) };
    black_box(block_on(use_store(Ram(RefCell::new(media)), memory)));
    loop {}
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
