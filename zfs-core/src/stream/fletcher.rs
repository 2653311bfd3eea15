use super::ByteOrder;
use crate::ffi::simd::lanes_if_fast;

/// The checksum of send streams: Fletcher-4 over 32-bit words, with sums of 64 bits.
///
/// Four sums go over the words: that of the words, that of the first sum after each word, and so
/// on. Bits that flip and bytes that move or are missing change them; it is no cryptographic hash.
///
/// ```
/// use zfs_core::stream::Fletcher4;
///
/// let mut sum = Fletcher4::new();
/// sum.update(&[1, 0, 0, 0]);
/// sum.update(&[2, 0, 0, 0]);
/// assert_eq!(sum.words(), [3, 4, 5, 6]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "fletcher_4_incremental_native")]
#[doc(alias = "fletcher_4_incremental_byteswap")]
pub struct Fletcher4 {
    sums: [u64; 4],
    order: ByteOrder,
}

impl Fletcher4 {
    /// The sum of no bytes, for words in little-endian order.
    #[must_use]
    pub const fn new() -> Self {
        Self::of_order(ByteOrder::Little)
    }

    /// The sum of no bytes, for words in this order.
    #[must_use]
    pub const fn of_order(order: ByteOrder) -> Self {
        Self {
            sums: [0; 4],
            order,
        }
    }

    /// The four sums.
    #[must_use]
    pub const fn words(&self) -> [u64; 4] {
        self.sums
    }

    /// Adds bytes. Up to three at the end that make no whole word are left out, as ZFS leaves them
    /// out: the sum of two parts is that of the whole only if the first is a multiple of four.
    pub fn update(&mut self, bytes: &[u8]) {
        match self.order {
            ByteOrder::Little => {
                let wide = bytes.len() - bytes.len() % BLOCK;
                let (wide, rest) = bytes.split_at_checked(wide).unwrap_or((&[], bytes));
                // Shorter pieces keep the numbers below small.
                for piece in wide.chunks(1 << 20) {
                    match lanes_if_fast(piece) {
                        Some(lanes) => self.join(piece.len() as u64 / 4, lanes),
                        None => self.add(piece, u32::from_le_bytes),
                    }
                }
                self.add(rest, u32::from_le_bytes);
            }
            ByteOrder::Big => self.add(bytes, u32::from_be_bytes),
        }
    }

    /// Adds word after word, one a clock cycle: no sum waits for more than the one before it.
    #[inline(always)]
    fn add(&mut self, bytes: &[u8], word: impl Fn([u8; 4]) -> u32) {
        let [mut a, mut b, mut c, mut d] = self.sums;
        for chunk in bytes.chunks_exact(4) {
            let word = chunk.first_chunk().map_or(0, |bytes| word(*bytes));
            a = a.wrapping_add(u64::from(word));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.sums = [a, b, c, d];
    }

    /// Adds `n` words that were summed in lanes.
    ///
    /// After a word come `r - 1` others, so that it is in the four sums 1, r, r(r+1)/2 and
    /// r(r+1)(r+2)/6 times. In its lane it is so with m in place of r, and r = 4m - lane. Each sum
    /// is therefore one of the lanes' sums, and `weights` says which.
    fn join(&mut self, n: u64, lanes: [[u64; LANES]; 4]) {
        let [a, b, c, d] = self.sums;
        let second = n * (n + 1) / 2;
        let third = n * (n + 1) * (n + 2) / 6;
        let mut sums = [
            a,
            dot([n, 1, 0, 0], [a, b, c, d]),
            dot([second, n, 1, 0], [a, b, c, d]),
            dot([third, second, n, 1], [a, b, c, d]),
        ];
        let [a, b, c, d] = lanes;
        for (lane, (((a, b), c), d)) in (0..).zip(a.into_iter().zip(b).zip(c).zip(d)) {
            for (sum, weights) in sums.iter_mut().zip(weights(lane)) {
                *sum = sum.wrapping_add(dot(weights, [a, b, c, d]));
            }
        }
        self.sums = sums;
    }
}

/// How many words are summed side by side, independently of each other.
const LANES: usize = 4;
/// Bytes that the lanes take at once.
const BLOCK: usize = 4 * 4 * LANES;

/// The four sums of each lane's words.
#[inline(always)]
pub(crate) fn lanes(bytes: &[u8]) -> [[u64; LANES]; 4] {
    let [mut a, mut b, mut c, mut d] = [[0_u64; LANES]; 4];
    for block in bytes.chunks_exact(BLOCK) {
        for step in block.chunks_exact(4 * LANES) {
            let mut words = [0; LANES];
            for (word, bytes) in words.iter_mut().zip(step.chunks_exact(4)) {
                *word = bytes
                    .first_chunk()
                    .map_or(0, |bytes| u32::from_le_bytes(*bytes).into());
            }
            a = plus(a, words);
            b = plus(b, a);
            c = plus(c, b);
            d = plus(d, c);
        }
    }
    [a, b, c, d]
}

#[inline(always)]
fn plus(mut to: [u64; LANES], from: [u64; LANES]) -> [u64; LANES] {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.wrapping_add(from);
    }
    to
}

fn dot(weights: [u64; 4], sums: [u64; 4]) -> u64 {
    let products = weights
        .into_iter()
        .zip(sums)
        .map(|(w, s)| w.wrapping_mul(s));
    products.fold(0, u64::wrapping_add)
}

/// How often the four sums of a lane are in each of the four sums of all.
///
/// Each row writes down a polynomial of m by its values at 0, -1, -2 and -3, where all but one, two
/// and three of 1, m, m(m+1)/2 and m(m+1)(m+2)/6 are 0.
fn weights(lane: i64) -> [[u64; 4]; 4] {
    let times: [fn(i64) -> i64; 4] = [
        |_| 1,
        |r| r,
        |r| r * (r + 1) / 2,
        |r| r * (r + 1) * (r + 2) / 6,
    ];
    times.map(|times| {
        let [at0, at1, at2, at3] = [0, -1, -2, -3].map(|m| times(4 * m - lane));
        let first = at0 - at1;
        let second = at2 - at0 + 2 * first;
        let third = at0 - at3 - 3 * first + 3 * second;
        [at0, first, second, third].map(|weight| 0_u64.wrapping_add_signed(weight))
    })
}

impl Default for Fletcher4 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Word after word, in the other byte order as well.
    fn plainly(bytes: &[u8], word: fn([u8; 4]) -> u32) -> [u64; 4] {
        let mut sum = Fletcher4::new();
        sum.add(bytes, word);
        sum.words()
    }

    proptest! {
        #[test]
        fn lanes_and_parts_are_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..6000),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() / 4 + 1) * 4).collect();
            cuts.sort_unstable();
            let mut little = Fletcher4::new();
            let mut big = Fletcher4::of_order(ByteOrder::Big);
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                little.update(&bytes[from..to]);
                big.update(&bytes[from..to]);
                from = to;
            }
            prop_assert_eq!(little.words(), plainly(&bytes, u32::from_le_bytes));
            prop_assert_eq!(big.words(), plainly(&bytes, u32::from_be_bytes));
        }
    }

    #[test]
    fn long_pieces_of_the_largest_words() {
        let bytes = vec![0xff; (3 << 20) + 68];
        let mut sum = Fletcher4::new();
        sum.update(&bytes);
        assert_eq!(sum.words(), plainly(&bytes, u32::from_le_bytes));
    }

    #[test]
    fn bytes_that_make_no_word_are_left_out() {
        let mut sum = Fletcher4::new();
        sum.update(&[1, 0, 0, 0, 9, 9, 9]);
        assert_eq!(sum.words(), [1, 1, 1, 1]);
    }
}
