//! `shingle put`, `get` and `delete`: one value at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::json;
use shingle_engine::{Condition, Durability, Meta, ReadOptions, WriteOptions};

use super::args::{DeleteArgs, GetArgs, PutArgs};
use super::session::Session;
use super::{Failure, Output, Shop, key};

/// Bytes of a value that are read at once.
const PIECE_LEN: usize = 1 << 20;

pub(super) fn put(args: &PutArgs) -> Result<(), Failure> {
    let key = key::parse(&args.key)?;
    let mut session = Session::open(&args.place)?;
    // The longest value first, so that an endless stream is refused and not swallowed.
    let limit = session.read(async |store: &Shop<'_, '_>| Ok(store.limits().value_len_max))?;
    let value = read_value(args, limit)?;
    let tag = args.tag.as_deref().unwrap_or("").as_bytes();
    let meta = [tag, args.meta.as_deref().unwrap_or("").as_bytes()].concat();
    if meta.len() > usize::from(u16::MAX) {
        return Err(Failure::new("the metadata are too long for this store"));
    }
    let condition = match (&args.if_tag, args.if_absent) {
        (Some(tag), _) => Condition::Version(tag.as_bytes()),
        (None, true) => Condition::Absent,
        (None, false) => Condition::None,
    };
    let options = WriteOptions { durability: Durability::Durable, condition };
    session.write(async |store: &Shop<'_, '_>| {
        let put = store.put(&key, Meta::new(&meta, tag.len()), &value, options).await;
        put.map_err(|error| Failure::from(error).about(&args.key))
    })
}

fn read_value(args: &PutArgs, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    match (&args.file, args.value.as_deref()) {
        (Some(path), _) => {
            let file = open_file(path)?;
            read_up_to(file, limit, &mut value).map_err(|error| Failure::file(path, &error))?;
        }
        (None, None | Some("-")) => {
            let read = read_up_to(io::stdin().lock(), limit, &mut value);
            read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
        }
        (None, Some(text)) => value.extend_from_slice(text.as_bytes()),
    }
    if value.len() as u64 > limit {
        return Err(Failure::new(format!(
            "the value is too long for this store, which takes {limit} bytes"
        )));
    }
    Ok(value)
}

/// Opens a file to read a value from.
pub(super) fn open_file(path: &Path) -> Result<File, Failure> {
    if path.is_dir() {
        return Err(Failure::new(format!("{} is a directory, not a file", path.display())));
    }
    File::open(path).map_err(|error| Failure::file(path, &error))
}

/// Reads at most one byte more than `limit`.
pub(super) fn read_up_to(from: impl Read, limit: u64, value: &mut Vec<u8>) -> io::Result<usize> {
    from.take(limit.saturating_add(1)).read_to_end(value)
}

/// Where a value goes.
enum Sink {
    Output(Output),
    File(File),
}

impl Sink {
    fn take(&mut self, bytes: &[u8], args: &GetArgs) -> Result<(), Failure> {
        match (self, &args.file) {
            (Self::File(file), Some(path)) => {
                file.write_all(bytes).map_err(|error| Failure::file(path, &error))
            }
            (Self::File(_), None) => unreachable!("a file has a name"),
            (Self::Output(output), _) => output.bytes(bytes),
        }
    }
}

pub(super) fn get(args: &GetArgs) -> Result<(), Failure> {
    let key = key::parse(&args.key)?;
    let session = Session::open(&args.place)?;
    session.read(async |store: &Shop<'_, '_>| match args.meta {
        true => get_meta(store, &key, args).await,
        false => get_value(store, &key, args).await,
    })
}

fn absent(args: &GetArgs) -> Failure {
    Failure::new(format!("{} is absent", args.key))
}

async fn get_value(store: &Shop<'_, '_>, key: &[u8], args: &GetArgs) -> Result<(), Failure> {
    let options = ReadOptions::default();
    let present = store
        .contains(key, options)
        .await
        .map_err(|error| Failure::from(error).about(&args.key))?;
    if !present {
        return Err(absent(args));
    }
    let mut sink = match &args.file {
        Some(path) if path.is_dir() => {
            return Err(Failure::new(format!("{} is a directory, not a file", path.display())));
        }
        Some(path) => Sink::File(File::create(path).map_err(|error| Failure::file(path, &error))?),
        None => Sink::Output(Output::new()),
    };
    let mut piece = vec![0; PIECE_LEN];
    let (mut offset, mut left) = (args.offset, args.len.unwrap_or(u64::MAX));
    while left > 0 {
        let room = left.min(PIECE_LEN as u64) as usize;
        let part = store.get_at(key, offset, &mut piece[..room], options).await;
        let part = part.map_err(|error| Failure::from(error).about(&args.key))?;
        let Some((_, len)) = part else {
            return Err(absent(args));
        };
        if len == 0 {
            break;
        }
        sink.take(&piece[..len], args)?;
        offset += len as u64;
        left -= len as u64;
    }
    match sink {
        Sink::Output(output) => output.finish(),
        Sink::File(_) => Ok(()),
    }
}

async fn get_meta(store: &Shop<'_, '_>, key: &[u8], args: &GetArgs) -> Result<(), Failure> {
    let mut meta = vec![0; usize::from(store.limits().meta_len_max)];
    let found = store.get_meta(key, &mut meta, ReadOptions::default()).await;
    let found = found.map_err(|error| Failure::from(error).about(&args.key))?;
    let Some(found) = found else {
        return Err(absent(args));
    };
    let meta = &meta[..found.meta_len];
    let mut out = Output::new();
    if args.json {
        let (tag, rest) = meta.split_at(found.version_len);
        out.document(&json!({
            "key": args.key,
            "value_len": found.value_len,
            "meta_len": found.meta_len,
            "tag": key::show(tag),
            "meta": key::show(rest),
        }))?;
    } else {
        out.bytes(meta)?;
    }
    out.finish()
}

pub(super) fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    if let Some(text) = &args.key {
        return delete_key(args, text);
    }
    let (start, end) = match (&args.prefix, &args.start) {
        (Some(prefix), _) => {
            let start = key::parse(prefix)?;
            let end = key::after_prefix(&start);
            (start, end)
        }
        (None, Some(start)) => {
            let end = args.end.as_deref().map(key::parse).transpose()?;
            (key::parse(start)?, end)
        }
        (None, None) => return Err(Failure::usage("say which key or range to delete")),
    };
    if start.is_empty() {
        return Err(Failure::usage(
            "an empty prefix or start names no range; begin with the first key",
        ));
    }
    let mut session = Session::open(&args.place)?;
    session.write(async |store: &Shop<'_, '_>| {
        Ok(store.delete_range(&start, end.as_deref(), Durability::Durable).await?)
    })
}

fn delete_key(args: &DeleteArgs, text: &str) -> Result<(), Failure> {
    let key = key::parse(text)?;
    let mut session = Session::open(&args.place)?;
    session.write(async |store: &Shop<'_, '_>| {
        let options =
            WriteOptions { durability: Durability::Durable, condition: Condition::Present };
        match store.delete(&key, options).await {
            Err(shingle_engine::WriteError::ConditionFailed) => {
                Err(Failure::new(format!("{text} is absent")))
            }
            other => other.map_err(|error| Failure::from(error).about(text)),
        }
    })
}
