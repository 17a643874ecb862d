//! Reads a labelled table from a `.npz` file: `X` (rows × features, numbers of any common type) and `y` (1 = outlier, 0 = not).

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{Array, Array1, Array2, Dimension, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement};

use crate::ScoreError;

/// A data set.
pub(super) struct Table {
    /// The name of its file within the data folder.
    pub(super) name: String,
    /// n_rows × n_features.
    pub(super) rows: Array2<f64>,
    /// By row.
    pub(super) outlier: Vec<bool>,
}

/// The `.npz` files of a folder, in the order of their names.
pub(super) fn tables(folder: &Path) -> Result<Vec<PathBuf>, ScoreError> {
    let unreadable = |cause| ScoreError::Unreadable {
        path: folder.to_owned(),
        cause,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "npz") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ScoreError::Malformed {
            path: folder.to_owned(),
            expected: "at least one .npz file".to_owned(),
            found: "none".to_owned(),
        });
    }
    paths.sort();
    Ok(paths)
}

type Npz = NpzReader<File>;

impl Table {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// `Unreadable`, or `Malformed` if it is no archive of arrays, lacks one, or they don't fit each other.
    pub(super) fn read(path: &Path) -> Result<Self, ScoreError> {
        let malformed = |expected: &str, found: String| ScoreError::Malformed {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let archive =
            |error: ReadNpzError| malformed("an archive of numpy arrays", error.to_string());
        let file = File::open(path).map_err(|cause| ScoreError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        let mut npz = NpzReader::new(file).map_err(archive)?;
        let rows = read_rows(&mut npz).map_err(|error| {
            malformed(
                "an array X of rows × features, of numbers",
                error.to_string(),
            )
        })?;
        let labels = read_labels(&mut npz)
            .map_err(|error| malformed("an array y of labels, of integers", error.to_string()))?;
        if rows.nrows() != labels.len() {
            return Err(malformed(
                "as many labels as rows",
                format!("{} labels, {} rows", labels.len(), rows.nrows()),
            ));
        }
        if let Some(label) = labels.iter().find(|label| !(0..=1).contains(*label)) {
            return Err(malformed("labels 0 and 1", label.to_string()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Table {
            name: format!("adbench/{name}"),
            rows,
            outlier: labels.iter().map(|label| *label == 1).collect(),
        })
    }
}

/// An array whose numbers are of type `A`; `None` if they are of another type.
fn read_as<A: ReadableElement, D: Dimension>(
    npz: &mut Npz,
    name: &str,
) -> Result<Option<Array<A, D>>, ReadNpzError> {
    match npz.by_name(name) {
        Ok(array) => Ok(Some(array)),
        Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The array `name` as `$target`, whichever of the types its numbers have; of none of them, what the last attempt said.
macro_rules! read_any {
    ($npz:ident, $name:literal, $target:ty, $dimension:ty, [$($type:ty),+]) => {{
        $(if let Some(array) = read_as::<$type, $dimension>($npz, $name)? {
            return Ok(array.mapv(|number| number as $target));
        })+
        $npz.by_name($name)
    }};
}

fn read_rows(npz: &mut Npz) -> Result<Array2<f64>, ReadNpzError> {
    read_any!(
        npz,
        "X",
        f64,
        Ix2,
        [f64, f32, i64, i32, i16, i8, u64, u32, u16, u8]
    )
}

fn read_labels(npz: &mut Npz) -> Result<Array1<i64>, ReadNpzError> {
    read_any!(npz, "y", i64, Ix1, [i64, i32, i16, i8, u64, u32, u16, u8])
}
