//! Merge keys: `<<: *name` puts the keys of another mapping in its place.

use super::{Content, Entry, Node};
use crate::grid::source::Problem;
use std::collections::HashSet;

/// The key, as it is written without quotes.
const MERGE: &str = "<<";

/// Puts what merge keys name in their place, here and in everything below.
///
/// A key that a mapping has itself stands in place of a merged one; of several merged mappings an
/// earlier one does.
///
/// # Source
/// YAML's merge language-independent type, <https://yaml.org/type/merge.html>.
pub(super) fn merge(node: &mut Node) -> Result<(), Problem> {
    match &mut node.content {
        Content::Scalar { .. } => Ok(()),
        Content::List(items) => items.iter_mut().try_for_each(merge),
        Content::Map(entries) => {
            entries
                .iter_mut()
                .try_for_each(|entry| merge(&mut entry.node))?;
            // There is one at most: a key that is given twice was refused.
            let is_merge =
                |entry: &Entry| entry.key == MERGE && entry.key_location.written() == MERGE;
            if let Some(place) = entries.iter().position(is_merge) {
                let mut merged = mappings(entries.remove(place).node)?;
                let mut keys: HashSet<String> = entries.iter().map(|own| own.key.clone()).collect();
                merged.retain(|entry| keys.insert(entry.key.clone()));
                entries.splice(place..place, merged);
            }
            Ok(())
        }
    }
}

/// The entries of what a merge key names: a mapping, or a list of them.
fn mappings(node: Node) -> Result<Vec<Entry>, Problem> {
    let is_list = |item: &Node| matches!(item.content, Content::List(_));
    match node.content {
        Content::Map(entries) => Ok(entries),
        Content::List(items) if !items.iter().any(is_list) => {
            let merged = items.into_iter().map(mappings);
            Ok(merged.collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ => Err(Problem::new(format!("`<<` cannot merge {}", node.describe()))
            .label(&node.location, "")
            .help("name a mapping by its anchor, as in `<<: *name`, or several: `<<: [*first, *second]`")),
    }
}
