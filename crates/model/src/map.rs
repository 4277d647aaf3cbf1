//! Sorted maps that share what they have in common.

use imbl::ordmap::DiffItem;

/// A sorted map whose clone costs nothing and shares what is not changed afterwards. [`diff`] of two
/// such maps costs what differs and not what they hold.
pub type Map<K, V> = imbl::OrdMap<K, V>;

/// A key that two maps do not say the same about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// What the old map says.
    pub old: Option<&'a V>,
    /// What the new map says.
    pub new: Option<&'a V>,
}

/// What differs between two maps, in the order of the keys.
pub fn diff<'a, K: Ord, V: PartialEq>(
    old: &'a Map<K, V>,
    new: &'a Map<K, V>,
) -> impl Iterator<Item = Difference<'a, K, V>> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(key, new) => Difference { key, old: None, new: Some(new) },
        DiffItem::Update { old: (_, old), new: (key, new) } => {
            Difference { key, old: Some(old), new: Some(new) }
        }
        DiffItem::Remove(key, old) => Difference { key, old: Some(old), new: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_in_order() {
        let old: Map<u8, char> = [(1, 'a'), (2, 'b'), (3, 'c')].into_iter().collect();
        let mut new = old.clone();
        assert_eq!(diff(&old, &new).count(), 0);
        new.remove(&1);
        new.insert(3, 'd');
        new.insert(4, 'e');
        let told: Vec<_> =
            diff(&old, &new).map(|it| (*it.key, it.old.copied(), it.new.copied())).collect();
        assert_eq!(told, [(1, Some('a'), None), (3, Some('c'), Some('d')), (4, None, Some('e'))]);
    }
}
