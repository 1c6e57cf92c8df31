//! The board: semihosting files, static memory, and an exit code.
//!
//! Files are in the folder that QEMU was started in: `task` is read first, six numbers; then
//! `drive.image`; and `journal` gets the number of each operation that was acknowledged.

use core::cell::RefCell;

use semihosting::fs;
use semihosting::io::{Error, Read as _, Seek as _, SeekFrom, Write as _};
use semihosting::process::ExitCode;
use semihosting::{eprintln, println};
use shingle_firmware::app::{self, Memory, Task};
use shingle_firmware::image::{File, ImageDrive, Model};
use shingle_firmware::script::VALUE_LEN_MAX;
use shingle_hal::block_on;

use crate::stack::Painted;

/// Memory of the store.
const STORE_LEN: usize = 256 << 10;

static mut STORE: [u8; STORE_LEN] = [0; STORE_LEN];
static mut EXPECTED: [u8; VALUE_LEN_MAX] = [0; VALUE_LEN_MAX];
static mut FOUND: [u8; VALUE_LEN_MAX] = [0; VALUE_LEN_MAX];

/// A file of the host.
struct HostFile(RefCell<fs::File>);

/// A request of a file failed; the host told why.
#[derive(Clone, Copy, Debug)]
struct FileFailed;

impl From<Error> for FileFailed {
    fn from(error: Error) -> Self {
        eprintln!("file: {error:?}");
        Self
    }
}

impl File for HostFile {
    type Error = FileFailed;

    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), FileFailed> {
        let mut file = self.0.borrow_mut();
        file.seek(SeekFrom::Start(at))?;
        Ok(file.read_exact(out)?)
    }

    fn write_at(&self, at: u64, data: &[u8]) -> Result<(), FileFailed> {
        let mut file = self.0.borrow_mut();
        file.seek(SeekFrom::Start(at))?;
        Ok(file.write_all(data)?)
    }
}

/// The numbers in the file `task`: block length, zones, blocks of a zone, seed, first operation,
/// number of operations.
fn read_task() -> Option<(Model, Task)> {
    let mut text = [0; 128];
    let len = fs::File::open(c"task").ok()?.read(&mut text).ok()?;
    let text = core::str::from_utf8(&text[..len]).ok()?;
    let mut words = text.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
    let mut word = || words.next().flatten();
    let model = Model { block_len_bytes: word()?, zone_count: word()?, zone_blocks: word()? };
    Some((model, Task { seed: word()?.into(), first: word()?, count: word()? }))
}

fn serve() -> Result<(), ()> {
    #[cfg(feature = "log")]
    crate::log::begin();
    let Some((model, task)) = read_task() else {
        eprintln!("there is no task of six numbers");
        return Err(());
    };
    let opened = fs::File::options().read(true).write(true).open(c"drive.image");
    let file = opened.map_err(|error| eprintln!("drive.image: {error:?}"))?;
    let drive = ImageDrive::open(HostFile(RefCell::new(file)), model);
    let drive = drive.map_err(|error| eprintln!("drive.image is no drive: {error:?}"))?;
    let journal = fs::File::create(c"journal");
    let mut journal = journal.map_err(|error| eprintln!("journal: {error:?}"))?;
    // SAFETY: this is the only thread, it runs once, and nothing else names these statics.
    let memory = unsafe {
        Memory {
            expected: &mut *(&raw mut EXPECTED),
            found: &mut *(&raw mut FOUND),
            store: &mut *(&raw mut STORE),
        }
    };
    let ack = |index: u32| {
        if journal.write_all(&index.to_le_bytes()).is_err() {
            eprintln!("the journal takes no more");
        }
    };
    // SAFETY: nothing is between the statics and the stack.
    let painted = unsafe { Painted::new() };
    let served = app::run(drive, task, memory, ack);
    let future_len = size_of_val(&served);
    block_on(served).map_err(|failure| eprintln!("{failure}"))?;
    let used = painted.used_len().ok_or_else(|| eprintln!("the stack is deeper than is known"))?;
    println!("stack {used} future {future_len}");
    Ok(())
}

#[cfg_attr(board = "an500", cortex_m_rt::entry)]
#[cfg_attr(any(board = "an536", board = "versatile"), aarch32_rt::entry)]
#[cfg_attr(board = "virt", riscv_rt::entry)]
fn main() -> ! {
    let code = if serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    code.exit_process()
}
