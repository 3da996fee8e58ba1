//! Values of any size as rows: cut into pieces below the size at which sled would write files that it never syncs.
//!
//! The first piece begins with the length and the crc32c of the whole value. Only pieces that differ are written
//! again (the ledger compares), and those behind the end of a value that has become shorter are removed.

use super::backend::{Batch, Tree};
use super::ledger::Ledger;
use super::{BATCH_KEYS_MAX, StoreError};
use crate::model::bytes::{Input, put_varint};

/// Largest value of one sled row: well below half of sled's blob threshold with 16 items a leaf.
pub(super) const PIECE_BYTES_MAX: usize = 7_000;
/// Behind a name: a byte that no UTF-8 text holds, and the number of the piece.
const PIECE_MARK: u8 = 0xff;
const SUFFIX_BYTES: usize = 3;

fn piece_key(name: &[u8], piece: usize) -> Vec<u8> {
    let piece = u16::try_from(piece).unwrap_or(u16::MAX).to_be_bytes();
    [name, &[PIECE_MARK], &piece].concat()
}

/// The name that `key` is the first piece of.
pub(super) fn name_of_head(key: &[u8]) -> Option<&[u8]> {
    let (name, suffix) = key.split_at_checked(key.len().checked_sub(SUFFIX_BYTES)?)?;
    (suffix == [PIECE_MARK, 0, 0]).then_some(name)
}

/// Adds to `batch` what makes `name` hold `bytes`.
pub(super) fn put(
    ledger: &Ledger,
    tree: Tree,
    (name, bytes): (&[u8], &[u8]),
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let mut whole = Vec::with_capacity(bytes.len() + 8);
    put_varint(&mut whole, bytes.len() as u64);
    whole.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    whole.extend_from_slice(bytes);
    let pieces = whole.chunks(PIECE_BYTES_MAX);
    let count = pieces.len();
    batch.extend(pieces.enumerate().map(|(at, piece)| (piece_key(name, at), Some(piece.to_vec()))));
    let old = ledger.get(tree, &piece_key(name, 0))?;
    let old_count = old.and_then(|head| pieces_behind(&head)).unwrap_or(0);
    batch.extend((count..old_count).map(|at| (piece_key(name, at), None)));
    Ok(())
}

/// What the keys of all pieces of `name` begin with.
pub(super) fn prefix(name: &[u8]) -> Vec<u8> {
    [name, &[PIECE_MARK]].concat()
}

/// Removes the rows whose keys begin with `prefix`, in batches.
pub(super) fn remove(ledger: &Ledger, tree: Tree, prefix: &[u8]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for row in ledger.scan(tree, prefix) {
        batch.insert(row?.0, None);
        if batch.len() >= BATCH_KEYS_MAX {
            ledger.apply(tree, std::mem::take(&mut batch))?;
        }
    }
    ledger.apply(tree, batch)
}

/// How many pieces the value has that `head` begins.
fn pieces_behind(head: &[u8]) -> Option<usize> {
    let mut input = Input(head);
    let length = usize::try_from(input.varint().ok()?).ok()?;
    let header = head.len() - input.0.len() + 4;
    Some(length.checked_add(header)?.div_ceil(PIECE_BYTES_MAX).min(usize::from(u16::MAX)))
}

/// The value of `name`, put together.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not what was put.
pub(super) fn get(ledger: &Ledger, tree: Tree, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let head = ledger.get(tree, &piece_key(name, 0))?;
    head.map(|head| join(ledger, tree, name, &head)).transpose()
}

/// The value of `name` whose first piece is `head`.
///
/// # Errors
/// As [`get`].
pub(super) fn join(ledger: &Ledger, tree: Tree, name: &[u8], head: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Damaged(format!("row {:?}", String::from_utf8_lossy(name)));
    let mut input = Input(head);
    let length = input.varint().map_err(|_| damaged())? as usize;
    let crc = input.take(4).map_err(|_| damaged())?.try_into().expect("four bytes were taken");
    let mut bytes = input.0.to_vec();
    for piece in 1.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&ledger.get(tree, &piece_key(name, piece))?.ok_or_else(damaged)?);
    }
    let is_right = bytes.len() == length && crc32c::crc32c(&bytes) == u32::from_le_bytes(crc);
    if is_right { Ok(bytes) } else { Err(damaged()) }
}
