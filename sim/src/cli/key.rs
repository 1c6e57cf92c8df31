//! Keys as text: UTF-8 as it is, other bytes and control characters as `\xNN`, `\` as `\\`.

use std::fmt::Write as _;

use super::Failure;

/// The text of a key; [`parse`] gives the key back.
pub(crate) fn show(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                text.push_str("\\\\");
            } else if c.is_control() {
                let mut utf8 = [0; 4];
                escape(&mut text, c.encode_utf8(&mut utf8).as_bytes());
            } else {
                text.push(c);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// The key that `text` stands for.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, Failure> {
    let bad =
        || Failure::usage(format!("`{text}` is not a key: `\\` must be followed by `\\` or `xNN`"));
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            key.push(byte);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                key.push(b'\\');
                rest = after;
            }
            [b'x', high, low, after @ ..] => {
                let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(bad);
                key.push((digit(*high)? * 16 + digit(*low)?) as u8);
                rest = after;
            }
            _ => return Err(bad()),
        }
    }
    Ok(key)
}

/// The first key after all that begin with `prefix`; `None` if there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
