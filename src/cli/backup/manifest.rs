//! What a backup says of itself: a file `backup.json` with every other file's length and checksum.

use std::fs;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// The manifest's name in the backup.
pub const NAME: &str = "backup.json";
/// The format this program writes; it refuses newer ones.
const FORMAT: u32 = 1;

/// A backup's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format.
    pub format: u32,
    /// The version of the program that made it.
    pub version: String,
    /// Wall time of its beginning, ms since the epoch.
    pub made_ms: i64,
    /// Id of the journal it is of.
    pub journal: String,
    /// Every file but this one.
    pub files: Vec<Saved>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its path in the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The checksum of its content.
    pub crc32c: u32,
}

impl Manifest {
    /// A manifest without files.
    pub fn new(journal: &str, now: Timestamp) -> Self {
        let (version, made_ms) = (env!("CARGO_PKG_VERSION").to_owned(), now.floor_millis());
        Self { format: FORMAT, version, made_ms, journal: journal.to_owned(), files: Vec::new() }
    }

    /// Writes it into the backup in `dir`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(dir.join(NAME), text + "\n")
    }

    /// Reads that of the backup in `dir`.
    ///
    /// # Errors
    /// Where there is none, or it names what lies outside; [`io::ErrorKind::Unsupported`] for a newer format.
    pub fn read(dir: &Path) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let text = fs::read_to_string(dir.join(NAME))?;
        let Format { format } = serde_json::from_str(&text)?;
        if format > FORMAT {
            let problem = format!("backup format {format}, this program reads {FORMAT}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        let manifest: Self = serde_json::from_str(&text)?;
        match manifest.files.iter().find(|file| !is_inside(Path::new(&file.path))) {
            None => Ok(manifest),
            Some(file) => {
                let problem = format!("{NAME} names {:?}, which is not in the backup", file.path);
                Err(io::Error::new(io::ErrorKind::InvalidData, problem))
            }
        }
    }
}

fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_refuses_what_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new("abc", Timestamp::from_millis(5));
        manifest.files.push(Saved { path: "journal/readings/0.seg".into(), bytes: 1, crc32c: 2 });
        manifest.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);

        for path in ["../etc/passwd", "/etc/passwd", "a/../../b"] {
            manifest.files[0].path = path.into();
            manifest.write(dir.path()).unwrap();
            assert_eq!(Manifest::read(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{path}");
        }
        fs::write(dir.path().join(NAME), r#"{"format":2,"other":true}"#).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
