//! The next segment's file, made while the present one fills: beginning a segment then costs a rename and a sync
//! of the directory, and commits do not wait for the file system to find room.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use super::{Folder, NEW_SUFFIX, Spares};
use crate::journal::disk::DiskFile;

/// An empty file with its room, durable but for its name.
#[derive(Debug)]
pub struct Made {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) path: PathBuf,
}

/// The next segment's file, if it is there.
#[derive(Debug, Default)]
pub enum Spare {
    /// Not yet asked for.
    #[default]
    None,
    /// Being made elsewhere.
    Making(Receiver<io::Result<Made>>),
    /// Ready.
    Ready(Made),
    /// It could not be made; the segment is made when it is needed, and that says why.
    Failed,
}

impl Spare {
    /// Begins to make one, unless that was done, or the disk is full.
    pub fn prepare(&mut self, folder: &Folder) {
        if !matches!(self, Self::None) || folder.ballast.is_released() {
            return;
        }
        *self = match folder.spares {
            Spares::Inline => make(folder).map_or(Self::Failed, Self::Ready),
            Spares::Aside => make_aside(folder),
        };
    }

    /// The file, if one was made; waits for it if it is being made.
    pub fn take(&mut self) -> Option<Made> {
        match std::mem::take(self) {
            Self::Ready(made) => Some(made),
            // The other end is gone only if its thread panicked.
            Self::Making(receiver) => receiver.recv().ok()?.ok(),
            Self::None | Self::Failed => None,
        }
    }

    /// Gives its room back.
    pub fn discard(&mut self, folder: &Folder) {
        if let Some(made) = self.take()
            && let Err(error) = folder.disk.remove(&made.path)
        {
            tracing::warn!(file = %made.path.display(), %error, "cannot remove the file of the next segment");
        }
    }
}

fn make(folder: &Folder) -> io::Result<Made> {
    let path = folder.dir.join("next").with_extension(&NEW_SUFFIX[1..]);
    let file = folder.disk.create(&path, folder.segment_bytes)?;
    file.sync_all()?;
    Ok(Made { file, path })
}

fn make_aside(folder: &Folder) -> Spare {
    let (done, receiver) = sync_channel(1);
    let folder = folder.clone();
    // Whoever asked may have gone.
    let work = move || _ = done.send(make(&folder));
    match std::thread::Builder::new().name("forebay-spare".to_owned()).spawn(work) {
        Ok(_) => Spare::Making(receiver),
        Err(_) => Spare::Failed,
    }
}
