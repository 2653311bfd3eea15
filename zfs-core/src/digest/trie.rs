//! A Merkle tree over ordered keys that fits in bounded memory.
//!
//! It is a binary trie without chains: an inner node stands for all leaves whose keys agree down to
//! a bit, and exists only where they differ in it. So the leaves alone say what the tree is, and its
//! root does not depend on how much of it was kept.
//!
//! What is kept is a cut through it: subtrees whose keys differ in the lowest `keep` bits only are
//! folded into one node as soon as they are complete. Two trees are compared at the coarser cut.

use super::Digest;

/// A leaf, or a subtree of which only this is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The key of the first leaf.
    pub(super) key: u128,
    pub(super) digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// Complete subtrees up to this level are folded.
    keep: u32,
    /// How many nodes may be kept while leaves come.
    most: usize,
}

const NODE_DOMAIN: &[u8] = b"zfs-core tree node 1";
const EMPTY_DOMAIN: &[u8] = b"zfs-core tree without leaves 1";

impl Trie {
    /// The fewest nodes that can be asked for: a path through the tree and as much again.
    const FEWEST: usize = 256;
    /// The length of a key.
    const BITS: u32 = u128::BITS;

    /// A tree without leaves that will keep about `most` nodes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            nodes: Vec::new(),
            keep: 0,
            most: most.max(Self::FEWEST),
        }
    }

    /// A tree from the cut that another one gave out.
    #[cfg(any(feature = "serde", test))]
    pub(super) fn from_nodes(nodes: Vec<Node>, keep: u32) -> Option<Self> {
        let apart = |pair: &[Node]| match pair {
            [a, b] => a.key < b.key && split(a, b) >= keep,
            _ => true,
        };
        let cut = keep <= Self::BITS && nodes.windows(2).all(apart);
        cut.then_some(Self {
            most: 0,
            nodes,
            keep,
        })
    }

    /// Adds a leaf. `false` if its key is not greater than that of the one before it.
    #[must_use]
    pub(super) fn push(&mut self, key: u128, digest: Digest) -> bool {
        // The last node is the last leaf: it is folded only when another one comes.
        if self.nodes.last().is_some_and(|last| key <= last.key) {
            return false;
        }
        append(&mut self.nodes, Node { key, digest }, self.keep);
        if self.nodes.len() > self.most {
            self.shrink(self.most / 2);
        }
        true
    }

    /// Folds a tree that gets no more leaves until at most `most` nodes are left.
    pub(super) fn coarsen(&mut self, most: usize) {
        self.shrink(most);
        self.finish();
    }

    fn shrink(&mut self, most: usize) {
        while self.nodes.len() > most.max(1) && self.keep < Self::BITS {
            self.raise(self.keep + 1);
        }
    }

    fn raise(&mut self, keep: u32) {
        self.keep = keep;
        let mut folded = Vec::with_capacity(self.nodes.len());
        for &node in &self.nodes {
            append(&mut folded, node, keep);
        }
        self.nodes = folded;
    }

    /// Folds what is complete now that no more leaves come.
    pub(super) fn finish(&mut self) {
        fold_tail(&mut self.nodes, self.keep);
        self.most = 0;
    }

    /// The root over all leaves so far.
    pub(super) fn root(&self) -> Digest {
        let mut nodes = Vec::new();
        for &node in &self.nodes {
            append(&mut nodes, node, Self::BITS);
        }
        fold_tail(&mut nodes, Self::BITS);
        match nodes.first() {
            Some(root) => root.digest,
            None => Digest::of(EMPTY_DOMAIN),
        }
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    #[cfg(any(feature = "serde", test))]
    pub(super) fn keep(&self) -> u32 {
        self.keep
    }

    /// The spans of keys, first and last, in which finished trees differ, in ascending order: single
    /// keys where both trees have all leaves.
    pub(super) fn differences(&self, other: &Self) -> Vec<(u128, u128)> {
        let keep = self.keep.max(other.keep);
        let at = |tree: &Self| {
            let mut tree = tree.clone();
            tree.raise(keep);
            tree.finish();
            tree.nodes
        };
        let (ours, theirs) = (at(self), at(other));
        let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
        let below = 1_u128.checked_shl(keep).map_or(u128::MAX, |bit| bit - 1);
        let start = |node: &&Node| node.key & !below;
        let mut found = Vec::new();
        loop {
            let at = match (ours.peek().map(start), theirs.peek().map(start)) {
                (None, None) => return found,
                (Some(one), None) | (None, Some(one)) => one,
                (Some(a), Some(b)) => a.min(b),
            };
            let of = |node: Option<&Node>| node.map(|node| node.digest);
            let a = of(ours.next_if(|node| start(node) == at));
            let b = of(theirs.next_if(|node| start(node) == at));
            if a != b {
                found.push((at, at | below));
            }
        }
    }
}

/// The highest bit in which the keys of two subtrees differ.
fn split(a: &Node, b: &Node) -> u32 {
    127_u32.saturating_sub((a.key ^ b.key).leading_zeros())
}

/// Adds a node behind the others, and folds those before it that are complete thereby: the ones
/// that differ among themselves in lower bits than from it.
fn append(nodes: &mut Vec<Node>, node: Node, keep: u32) {
    if let Some(last) = nodes.last() {
        fold_tail(nodes, keep.min(split(last, &node)));
    }
    nodes.push(node);
}

/// Folds the last two nodes as long as they differ in a bit below `below`. The bits in which
/// neighbours differ fall towards the end, except among nodes that are folded no further.
fn fold_tail(nodes: &mut Vec<Node>, below: u32) {
    while let [.., left, right] = nodes.as_slice() {
        let bit = split(left, right);
        if bit >= below {
            return;
        }
        let mut text = [0; NODE_DOMAIN.len() + 1 + 2 * Digest::LEN];
        let mut rest = text.as_mut_slice();
        for part in [
            NODE_DOMAIN,
            &[u8::try_from(bit).unwrap_or(u8::MAX)],
            left.digest.as_bytes(),
            right.digest.as_bytes(),
        ] {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        let folded = Node {
            key: left.key,
            digest: Digest::of(&text),
        };
        nodes.pop();
        nodes.pop();
        nodes.push(folded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u128) -> Digest {
        Digest::of(&n.to_le_bytes())
    }

    fn tree(keys: impl IntoIterator<Item = u128>, most: usize) -> Trie {
        let mut tree = Trie::new(most);
        for key in keys {
            assert!(tree.push(key, leaf(key)), "{key}");
        }
        tree.finish();
        tree
    }

    /// The definition: a node for each bit in which the leaves below differ.
    fn root_by_definition(leaves: &[(u128, Digest)]) -> Digest {
        match leaves {
            [] => Digest::of(EMPTY_DOMAIN),
            [(_, digest)] => *digest,
            [(first, _), .., (last, _)] => {
                let bit = 127 - (first ^ last).leading_zeros();
                let middle = leaves.partition_point(|(key, _)| key >> bit & 1 == 0);
                let mut text = NODE_DOMAIN.to_vec();
                text.push(u8::try_from(bit).unwrap());
                text.extend(root_by_definition(&leaves[..middle]).as_bytes());
                text.extend(root_by_definition(&leaves[middle..]).as_bytes());
                Digest::of(&text)
            }
        }
    }

    fn keys(count: u128, spread: u32) -> Vec<u128> {
        let scatter = |n: u128| ((n * n * 7 + 3 * n) << spread) | (n % 3);
        (0..count).map(scatter).collect()
    }

    #[test]
    fn the_root_is_as_defined_however_little_is_kept() {
        for (count, spread) in [(0, 0), (1, 0), (2, 100), (3, 7), (1000, 0), (5000, 80)] {
            let keys = keys(count, spread);
            let leaves: Vec<_> = keys.iter().map(|&key| (key, leaf(key))).collect();
            let expected = root_by_definition(&leaves);
            for most in [0, 300, 100_000] {
                let mut tree = tree(keys.iter().copied(), most);
                assert!(tree.nodes().len() <= most.max(Trie::FEWEST) + 128);
                assert_eq!(tree.root(), expected, "{count} {spread} {most}");
                let again = Trie::from_nodes(tree.nodes().to_vec(), tree.keep());
                assert_eq!(again.map(|tree| tree.root()), Some(expected));
                tree.coarsen(1);
                assert_eq!(tree.nodes().len(), usize::from(count > 0));
                assert_eq!(tree.root(), expected);
            }
        }
    }

    #[test]
    fn differences_are_named_exactly_where_all_leaves_are_there() {
        let left = tree(0..1000, 10_000);
        assert_eq!(left.differences(&left), []);
        let mut right = Trie::new(10_000);
        for key in (0..1005).filter(|key| *key != 17) {
            let digest = if key == 500 { leaf(9999) } else { leaf(key) };
            assert!(right.push(key, digest));
        }
        right.finish();
        let named: Vec<_> = [17, 500, 1000, 1001, 1002, 1003, 1004]
            .map(|key| (key, key))
            .to_vec();
        assert_eq!(left.differences(&right), named);
        assert_eq!(right.differences(&left), named);
    }

    #[test]
    fn differences_are_found_between_cuts_of_different_depth() {
        let whole = tree(0..4000, 10_000);
        let coarse = tree(0..4000, 0);
        assert!(coarse.keep() > 0);
        assert_eq!(whole.differences(&coarse), []);
        assert_eq!(coarse.differences(&whole), []);
        let mut other = Trie::new(10_000);
        for key in 0..4000 {
            assert!(other.push(key, leaf(if key == 2222 { 1 } else { key })));
        }
        other.finish();
        let [(first, last)] = coarse.differences(&other)[..] else {
            panic!("one span");
        };
        assert!((first..=last).contains(&2222));
        assert_eq!(last - first + 1, 1 << coarse.keep());
    }

    #[test]
    fn keys_ascend() {
        let mut tree = Trie::new(0);
        assert!(tree.push(5, leaf(5)));
        assert!(!tree.push(5, leaf(5)));
        assert!(!tree.push(4, leaf(4)));
        assert!(tree.push(u128::MAX, leaf(6)));
        assert!(!tree.push(u128::MAX, leaf(6)));
    }

    #[test]
    fn what_is_no_cut_is_refused() {
        let node = |key| Node {
            key,
            digest: leaf(key),
        };
        assert!(Trie::from_nodes(vec![node(1), node(2)], 0).is_some());
        assert!(Trie::from_nodes(vec![node(2), node(1)], 0).is_none());
        assert!(Trie::from_nodes(vec![node(1), node(1)], 0).is_none());
        assert!(Trie::from_nodes(vec![node(2), node(3)], 1).is_none());
        assert!(Trie::from_nodes(vec![node(1), node(2)], 1).is_some());
        assert!(Trie::from_nodes(Vec::new(), 129).is_none());
    }
}
