//! Who a journal is, and message identities.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::disk::{self, Disk};

/// The id in the file at `path`; a fresh one, durably written, if there is no file.
///
/// # Errors
/// IO errors; [`io::ErrorKind::InvalidData`] if the file holds no id.
pub fn load_or_mint(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let Some(bytes) = disk::read_small(disk, path)? else { return mint(disk, path) };
    let text = String::from_utf8_lossy(&bytes);
    parse(&text).map(str::to_owned).ok_or_else(|| {
        let problem = "not a journal id and its checksum (without the file a new id is minted, and results get new ids)";
        io::Error::new(io::ErrorKind::InvalidData, format!("{} holds {text:?}, {problem}", path.display()))
    })
}

/// The id in the `text` of its file: the id and its crc32c. The checksum may be missing, as earlier versions had
/// none; a wrong one is none.
pub fn parse(text: &str) -> Option<&str> {
    let mut words = text.split_ascii_whitespace();
    let id = words.next().filter(|id| is_id(id))?;
    let is_right = words.next().is_none_or(|crc| crc == checksum(id));
    (is_right && words.next().is_none()).then_some(id)
}

fn checksum(id: &str) -> String {
    format!("{:08x}", crc32c::crc32c(id.as_bytes()))
}

/// Mints a new id for the journal in `dir`: one that was copied must not repeat the ids of its original.
///
/// # Errors
/// IO errors.
pub fn renew(disk: &dyn Disk, dir: &Path) -> io::Result<String> {
    mint(disk, &dir.join(ID_FILE))
}

/// The id of the journal in `dir`: minted when it is created, and anew when it is found on another machine than
/// before. `machine` is the machine's own id; `None` where there is none: then nothing is compared.
///
/// # Errors
/// As [`load_or_mint`].
pub fn on_machine(disk: &dyn Disk, dir: &Path, machine: Option<&str>) -> io::Result<String> {
    let id = load_or_mint(disk, &dir.join(ID_FILE))?;
    let Some(machine) = machine else { return Ok(id) };
    let path = dir.join(MACHINE_FILE);
    let hash = format!("{:016x}", of_message(&[b"forebay machine", machine.as_bytes()]));
    let mark = format!("{hash} {}\n", checksum(&hash));
    let id = match disk::read_small(disk, &path)? {
        Some(known) => match hash_in(&known) {
            // As long as what it says is whole, whatever became of the newline behind it.
            Some(known) if known == hash => return Ok(id),
            None => {
                tracing::warn!(path = %path.display(), "damaged, so the journal is taken for this machine's own");
                id
            }
            Some(_) => {
                let renewed = renew(disk, dir)?;
                tracing::warn!(
                    before = id,
                    now = renewed,
                    "journal found on another machine, it has a new id"
                );
                renewed
            }
        },
        None => id,
    };
    // After the id: whoever is cut short in between renews it once more.
    disk::replace_small(disk, &path, mark.as_bytes())?;
    Ok(id)
}

/// The machine's hash that a mark tells; `None` if the mark is damaged.
fn hash_in(mark: &[u8]) -> Option<&str> {
    let (hash, crc) = std::str::from_utf8(mark).ok()?.trim_end().split_once(' ')?;
    (crc == checksum(hash)).then_some(hash)
}

/// The id of this machine as its operating system keeps it in the file at `path`, if it has one.
pub fn machine(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    is_id(text.trim()).then(|| text.trim().to_owned())
}

/// The file that holds the journal's id.
const ID_FILE: &str = "journal.id";
/// The file that tells on which machine the journal was written last: a hash, the machine's id is not ours to copy.
const MACHINE_FILE: &str = "journal.machine";
const ID_DIGITS: usize = 32;

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn mint(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let mut random = [0; ID_DIGITS / 2];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    disk::replace_small(disk, path, format!("{id} {}\n", checksum(&id)).as_bytes())?;
    Ok(id)
}

/// A message's identity over what its protocol calls "the same message": stable over restarts and releases.
///
/// Folded multiplication over eight bytes at a time (as wyhash, <https://github.com/wangyi-fudan/wyhash>): fast and
/// well mixed. It is no cryptographic hash: who may publish and can guess another client's message, id and all, can
/// forge its identity.
pub fn of_message(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(SEEDS[0], |hash, part| {
        let words = part.chunks_exact(8);
        let rest = words.remainder();
        let last = (0..rest.len()).fold(0, |word, at| word << 8 | u64::from(rest[at]));
        let hash = words.fold(hash ^ part.len() as u64, |hash, word| {
            fold(hash ^ u64::from_le_bytes(word.try_into().expect("chunks of eight")), SEEDS[1])
        });
        fold(hash ^ last, SEEDS[2])
    })
}

const SEEDS: [u64; 3] = [0x2d35_8dcc_aa6c_78a5, 0x8bb8_4b93_962e_acc9, 0x4b33_a62e_d433_d4a3];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::RealDisk;

    #[test]
    fn identities_differ_where_messages_do_and_are_stable() {
        let a: &[&[u8]] = &[b"client", &[0, 7], b"payload of a message"];
        let others: [&[&[u8]]; 3] = [
            &[b"client", &[0, 8], b"payload of a message"],
            &[b"client", &[0, 7], b"payload of a messagf"],
            &[b"clien", b"t\0\x07", b"payload of a message"],
        ];
        assert!(others.iter().all(|other| of_message(other) != of_message(a)));
        // A copy may come after an upgrade.
        assert_eq!(of_message(&[b"client", b"payload"]), 7_299_789_945_542_321_100);
    }

    #[test]
    fn a_journal_that_finds_itself_on_another_machine_takes_a_new_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = |machine| on_machine(&RealDisk, dir.path(), machine).expect("opens");
        let first = open(None);
        assert_eq!([open(Some("a")), open(Some("a")), open(None)], [(); 3].map(|()| first.clone()));
        let second = open(Some("b"));
        assert_ne!(second, first);
        assert_eq!([open(Some("b")), open(None)], [second.clone(), second.clone()]);
        assert_ne!(renew(&RealDisk, dir.path()).expect("mints"), second);
        let kept = std::fs::read_to_string(dir.path().join(MACHINE_FILE)).expect("a mark");
        assert_eq!(kept.trim().len(), 25, "a hash and its checksum");
        let renewed = open(None);
        let newlines = (0..8).map(|bit| char::from(b'\n' ^ (1 << bit)).to_string());
        for newline in newlines.chain([String::new()]) {
            std::fs::write(dir.path().join(MACHINE_FILE), kept.trim_end().to_owned() + &newline)
                .expect("writes");
            assert_eq!(open(Some("b")), renewed, "the same machine, with {newline:?} for the newline");
        }
        for damaged in ["", &kept[..9], &kept.replace(' ', ""), &kept.replace('\n', "0\n")] {
            std::fs::write(dir.path().join(MACHINE_FILE), damaged).expect("writes");
            assert_eq!(open(Some("c")), renewed, "damage is no other machine: {damaged:?}");
        }
        assert_ne!(open(Some("d")), renewed);
    }

    #[test]
    fn an_id_is_minted_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal.id");
        let id = load_or_mint(&RealDisk, &path).expect("mints");
        assert!(is_id(&id));
        assert_eq!(load_or_mint(&RealDisk, &path).expect("loads"), id);
        let text = std::fs::read_to_string(&path).expect("reads");
        std::fs::write(&path, &id).expect("writes");
        assert_eq!(load_or_mint(&RealDisk, &path).expect("as earlier versions wrote it"), id);
        let flipped = |at: usize| {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            bytes
        };
        let damaged = (0..text.trim().len()).filter(|at| *at != ID_DIGITS).map(flipped);
        for bytes in damaged.chain([b"rubbish".to_vec()]) {
            std::fs::write(&path, &bytes).expect("writes");
            let error = load_or_mint(&RealDisk, &path).expect_err("no id");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
