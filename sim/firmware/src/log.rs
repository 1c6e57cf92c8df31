//! The engine's events, as `defmt` frames in the file `log`; the host has their words from the ELF.

use core::cell::RefCell;

use defmt::Encoder;
use semihosting::fs;
use semihosting::io::Write as _;

/// Bytes of a frame that go out at once.
const FRAME_LEN: usize = 128;

#[defmt::global_logger]
struct Logger;

struct Out {
    encoder: Encoder,
    file: Option<fs::File>,
    frame: [u8; FRAME_LEN],
    len: usize,
}

/// What only the one thread of a board names, which no interrupt breaks into.
struct OneThread(RefCell<Out>);

// SAFETY: there is one thread.
unsafe impl Sync for OneThread {}

static OUT: OneThread = OneThread(RefCell::new(Out {
    encoder: Encoder::new(),
    file: None,
    frame: [0; FRAME_LEN],
    len: 0,
}));

/// Begins the file; before that, events are dropped.
pub(crate) fn begin() {
    OUT.0.borrow_mut().file = fs::File::create(c"log").ok();
}

impl Out {
    /// Encodes, by `what`, and keeps what comes of it until the frame ends or is long.
    fn encode(&mut self, what: impl FnOnce(&mut Encoder, &mut dyn FnMut(&[u8]))) {
        let Self { encoder, file, frame, len } = self;
        what(encoder, &mut |bytes| {
            for byte in bytes {
                if *len == FRAME_LEN {
                    write_out(file, &frame[..*len]);
                    *len = 0;
                }
                frame[*len] = *byte;
                *len += 1;
            }
        });
    }
}

fn write_out(file: &mut Option<fs::File>, bytes: &[u8]) {
    if let Some(open) = file
        && open.write_all(bytes).is_err()
    {
        *file = None;
    }
}

// SAFETY: there is one thread, so a frame is never begun within another.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        OUT.0.borrow_mut().encode(|encoder, out| encoder.start_frame(out));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        let mut out = OUT.0.borrow_mut();
        out.encode(|encoder, out| encoder.end_frame(out));
        let Out { file, frame, len, .. } = &mut *out;
        write_out(file, &frame[..*len]);
        *len = 0;
    }

    unsafe fn write(bytes: &[u8]) {
        OUT.0.borrow_mut().encode(|encoder, out| encoder.write(bytes, out));
    }
}
