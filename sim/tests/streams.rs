//! Values that go through a small buffer, piece by piece.

use embedded_io_async::{ErrorType, Read, Write};
use shingle_engine::{
    FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store, WriteError,
    WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

const MEDIA: [&str; 4] = ["smr-tiny", "disk-tiny", "zns-tiny", "nor-1m"];

fn on_each(run: impl Fn(&Store<'_, &Drive>, &Drive, usize)) {
    for media in MEDIA {
        let drive = Drive::new(MediaSpec::by_name(media).expect("a medium"), 1);
        let mut memory = vec![0; if media.starts_with("nor") { 256 << 10 } else { 4 << 20 }];
        let limits = Limits::for_geometry(&drive.geometry());
        let options = FormatOptions { store_id: [2; 16], limits, redundancy: Redundancy::NONE };
        drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        // More than a zone's worth of blocks, where values may be so long.
        run(&store, &drive, (limits.value_len_max as usize).min(300_000));
    }
}

fn value(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251 + salt) as u8).collect()
}

/// Takes what is written, in pieces of `piece_len` at most; puts another value in its place first,
/// and fails after so many bytes.
struct Sink<'s, 'm> {
    store: &'s Store<'m, &'s Drive>,
    taken: Vec<u8>,
    piece_len: usize,
    fails_at: usize,
}

impl<'s, 'm> Sink<'s, 'm> {
    fn new(store: &'s Store<'m, &'s Drive>) -> Self {
        Self { store, taken: Vec::new(), piece_len: usize::MAX, fails_at: usize::MAX }
    }
}

impl ErrorType for Sink<'_, '_> {
    type Error = embedded_io_async::ErrorKind;
}

impl Write for Sink<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        if self.taken.len() >= self.fails_at {
            return Err(embedded_io_async::ErrorKind::Other);
        }
        if self.taken.is_empty() {
            let put = self.store.put(b"key", Meta::NONE, b"another", WriteOptions::BUFFERED);
            put.await.expect("put");
        }
        let len = bytes.len().min(self.piece_len);
        self.taken.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Gives bytes in pieces, and then no more.
struct Source<'b>(&'b [u8]);

impl ErrorType for Source<'_> {
    type Error = embedded_io_async::ErrorKind;
}

impl Read for Source<'_> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error> {
        let len = out.len().min(self.0.len()).min(777);
        let (given, rest) = self.0.split_at(len);
        out[..len].copy_from_slice(given);
        self.0 = rest;
        Ok(len)
    }
}

#[test]
fn value_read_in_pieces_is_one_version_though_it_is_overwritten_meanwhile() {
    on_each(|store, drive, len_max| {
        let fillings = store.limits().fragments_max() / 2;
        let cases = [
            (len_max, len_max.div_ceil(fillings)),
            (len_max, len_max.div_ceil(3)),
            (100, 40),
            (5000, 5000),
            (0, 8),
        ];
        for (len, buffer_len) in cases {
            let expected = value(len, buffer_len);
            drive.block_on(async {
                let mut buffer = vec![0; buffer_len];
                let (meta, mut source) = (Meta::version(b"7"), Source(&expected));
                let put = store.put_from(
                    b"key",
                    meta,
                    len as u64,
                    &mut source,
                    &mut buffer,
                    WriteOptions::DURABLE,
                );
                put.await.expect("put_from");
                let mut sink = Sink { piece_len: 333, ..Sink::new(store) };
                let get = store.get_to(b"key", &mut sink, &mut buffer, ReadOptions::default());
                let found = get.await.expect("get_to").expect("the key is there");
                assert_eq!((found.value_len, found.version_len), (len as u64, 1));
                assert!(sink.taken == expected, "{len} bytes through {buffer_len}");
            });
        }
    });
}

#[test]
fn reader_or_writer_that_fails_is_told_and_changes_nothing() {
    on_each(|store, drive, len_max| {
        let expected = value(len_max, 0);
        drive.block_on(async {
            let mut buffer = vec![0; len_max / 3];
            let (len, options) = (len_max as u64, ReadOptions::default());
            let put = store.put(b"key", Meta::NONE, &expected, WriteOptions::DURABLE);
            put.await.expect("put");
            let mut short = Source(&expected[..len_max / 2]);
            let put = store.put_from(
                b"key",
                Meta::NONE,
                len,
                &mut short,
                &mut buffer,
                WriteOptions::DURABLE,
            );
            assert!(matches!(put.await, Err(WriteError::Stream)));
            let mut whole = Source(&expected);
            let put =
                store.put_from(b"key", Meta::NONE, len, &mut whole, &mut [], WriteOptions::DURABLE);
            assert!(matches!(put.await, Err(WriteError::ValueTooLong)));

            let mut sink = Sink::new(store);
            let got = store.get_to(b"absent", &mut sink, &mut buffer, options).await;
            assert!(got.expect("get_to").is_none() && sink.taken.is_empty());
            let got = store.get_to(b"key", &mut sink, &mut [], options).await;
            assert!(matches!(got, Err(ReadError::BufferTooSmall { needed_bytes: 1 })));
            let mut sink = Sink { fails_at: len_max / 3, ..Sink::new(store) };
            let got = store.get_to(b"key", &mut sink, &mut buffer, options).await;
            assert!(matches!(got, Err(ReadError::Stream)));
            assert!(sink.taken == expected[..len_max / 3]);

            let snapshots = store.stats().snapshots;
            assert_eq!(snapshots, 0, "a stream's own snapshot ends with it");
        });
    });
}
