//! ekv on the same flash: for its size.
#![no_std]
#![no_main]

mod flash;

use ekv::flash::{Flash, PageID};
use ekv::{Config, Database};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use semihosting::process::ExitCode;
use semihosting::{eprintln, println};
use shingle_hal::block_on;

use flash::{ERASE_LEN, FLASH_LEN, MemoryFlash};

/// Pages, of an erase block each.
struct Pages(MemoryFlash);

impl Flash for Pages {
    type Error = core::convert::Infallible;

    fn page_count(&self) -> usize {
        FLASH_LEN / ERASE_LEN
    }

    async fn erase(&mut self, page: PageID) -> Result<(), Self::Error> {
        let start = (page.index() * ERASE_LEN) as u32;
        self.0.erase(start, start + ERASE_LEN as u32)
    }

    async fn read(&mut self, page: PageID, at: usize, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read((page.index() * ERASE_LEN + at) as u32, out)
    }

    async fn write(&mut self, page: PageID, at: usize, data: &[u8]) -> Result<(), Self::Error> {
        self.0.write((page.index() * ERASE_LEN + at) as u32, data)
    }
}

/// Puts, gets, walks and deletes; what came back.
async fn work(flash: MemoryFlash) -> Result<usize, u32> {
    let store = Database::<_, NoopRawMutex>::new(Pages(flash), Config::default());
    store.format().await.map_err(|_| line!())?;
    store.mount().await.map_err(|_| line!())?;
    let mut value = [7; 1024];
    for number in 0..200_u32 {
        let mut write = store.write_transaction().await;
        write.write(&number.to_be_bytes(), &value[..100]).await.map_err(|_| line!())?;
        write.commit().await.map_err(|_| line!())?;
    }
    let mut write = store.write_transaction().await;
    write.delete(&9_u32.to_be_bytes()).await.map_err(|_| line!())?;
    write.commit().await.map_err(|_| line!())?;
    let read = store.read_transaction().await;
    let mut found = read.read(&5_u32.to_be_bytes(), &mut value).await.map_err(|_| line!())?;
    let mut cursor = read.read_range(..).await.map_err(|_| line!())?;
    let mut key = [0; 64];
    while let Some((_, len)) = cursor.next(&mut key, &mut value).await.map_err(|_| line!())? {
        found += len;
    }
    Ok(found)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    // SAFETY: it is taken once.
    let flash = unsafe { MemoryFlash::take() };
    match block_on(work(flash)) {
        Ok(found) => {
            println!("| {} |", found);
            ExitCode::SUCCESS.exit_process()
        }
        Err(line) => {
            eprintln!("{}: {:?}", line, Some(1));
            ExitCode::FAILURE.exit_process()
        }
    }
}
