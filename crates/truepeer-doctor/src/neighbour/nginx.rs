//! nginx: files, or what `nginx -T` prints, with `include` followed among the texts at hand.

mod blocks;
mod tree;

use super::{File, Neighbour};
use crate::Product;

/// Reads the first text, and those that it includes; the others as if they stood alone.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Nginx, names.join(", "));
    let directives = tree::read(files, &mut out.unread);
    blocks::read(&directives, &mut out);
    vec![out]
}
