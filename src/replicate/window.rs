//! Both ends of the data: what the sender keeps until it is acknowledged, and what the receiver
//! keeps until the frames before it are there.

use std::collections::{BTreeMap, VecDeque};

/// How many data frames may be on their way: what the sender keeps, and the receiver keeps at most.
pub(crate) const WINDOW: usize = 32;

/// How often one frame is asked for again before the channel is given up.
const MAX_REPEATS: u32 = 8;

/// The other side broke the rules of the protocol, or the channel damages too much.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WindowError {
    #[error("frame {0} is not one that may come now")]
    OutOfTurn(u64),
    #[error("frame {0} arrived damaged {MAX_REPEATS} times")]
    Hopeless(u64),
}

/// Frames that were sent and not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct SendWindow {
    /// The number of the first frame kept.
    first: u64,
    frames: VecDeque<Vec<u8>>,
}

impl SendWindow {
    /// The number that the next frame gets.
    pub(crate) fn next(&self) -> u64 {
        self.first
            .saturating_add(u64::try_from(self.frames.len()).unwrap_or(u64::MAX))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= WINDOW
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        self.frames.push_back(frame);
    }

    /// All frames before `next` arrived.
    pub(crate) fn acknowledge(&mut self, next: u64) -> Result<(), WindowError> {
        if next < self.first || next > self.next() {
            return Err(WindowError::OutOfTurn(next));
        }
        while self.first < next && self.frames.pop_front().is_some() {
            self.first += 1;
        }
        Ok(())
    }

    /// A frame that is asked for again.
    pub(crate) fn frame(&self, number: u64) -> Result<&[u8], WindowError> {
        number
            .checked_sub(self.first)
            .and_then(|index| self.frames.get(usize::try_from(index).ok()?))
            .map(Vec::as_slice)
            .ok_or(WindowError::OutOfTurn(number))
    }
}

/// Frames that arrived, put back in order.
#[derive(Debug, Default)]
pub(crate) struct ReceiveWindow {
    /// The number of the next frame to give out.
    next: u64,
    early: BTreeMap<u64, Vec<u8>>,
    /// How often each missing frame arrived damaged.
    damaged: BTreeMap<u64, u32>,
}

impl ReceiveWindow {
    /// All frames before this one are there or given out: what is acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        let mut next = self.next;
        while self.early.contains_key(&next) {
            next += 1;
        }
        next
    }

    /// A sound frame arrived.
    pub(crate) fn accept(&mut self, number: u64, bytes: Vec<u8>) -> Result<(), WindowError> {
        self.check(number)?;
        self.damaged.remove(&number);
        self.early.insert(number, bytes);
        Ok(())
    }

    /// A damaged frame arrived: it has to be asked for again.
    pub(crate) fn reject(&mut self, number: u64) -> Result<(), WindowError> {
        self.check(number)?;
        let times = self.damaged.entry(number).or_default();
        *times += 1;
        match *times < MAX_REPEATS {
            true => Ok(()),
            false => Err(WindowError::Hopeless(number)),
        }
    }

    fn check(&self, number: u64) -> Result<(), WindowError> {
        let offset = number
            .checked_sub(self.next)
            .and_then(|offset| usize::try_from(offset).ok());
        match offset {
            Some(0..WINDOW) if !self.early.contains_key(&number) => Ok(()),
            _ => Err(WindowError::OutOfTurn(number)),
        }
    }

    /// The next frame in order, if it is there.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let bytes = self.early.remove(&self.next)?;
        self.next += 1;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator of numbers: the same for the same seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    #[test]
    fn data_comes_out_in_order_whatever_is_damaged() {
        for seed in 1..500_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let total = dice.below(150);
            let mut sender = SendWindow::default();
            let mut receiver = ReceiveWindow::default();
            // What is on its way in each direction; both keep the order.
            let mut there: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
            let mut back: VecDeque<Result<u64, u64>> = VecDeque::new();
            let mut sent = 0;
            let mut out = Vec::new();
            while out.len() < usize::try_from(total).unwrap() || !sender.is_empty() {
                match dice.below(3) {
                    0 if sent < total && !sender.is_full() => {
                        assert_eq!(sender.next(), sent);
                        let bytes = sent.to_le_bytes().to_vec();
                        there.push_back((sent, bytes.clone()));
                        sender.push(bytes);
                        sent += 1;
                    }
                    1 => match there.pop_front() {
                        Some((number, _)) if dice.below(3) == 0 => {
                            if receiver.reject(number).is_err() {
                                // Eight times in a row: rare, and then the run ends.
                                out.clear();
                                break;
                            }
                            back.push_back(Err(number));
                        }
                        Some((number, bytes)) => {
                            receiver.accept(number, bytes).unwrap();
                            back.push_back(Ok(receiver.acknowledged()));
                            while let Some(bytes) = receiver.take() {
                                out.push(bytes);
                            }
                        }
                        None => {}
                    },
                    2 => match back.pop_front() {
                        Some(Ok(next)) => sender.acknowledge(next).unwrap(),
                        Some(Err(number)) => {
                            there.push_back((number, sender.frame(number).unwrap().to_vec()));
                        }
                        None => {}
                    },
                    _ => {}
                }
            }
            for (number, bytes) in (0_u64..).zip(&out) {
                assert_eq!(*bytes, number.to_le_bytes(), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_out_of_turn_is_refused() {
        let mut sender = SendWindow::default();
        sender.push(vec![0]);
        sender.push(vec![1]);
        assert_eq!(sender.acknowledge(3), Err(WindowError::OutOfTurn(3)));
        sender.acknowledge(1).unwrap();
        assert_eq!(sender.acknowledge(0), Err(WindowError::OutOfTurn(0)));
        assert_eq!(sender.frame(0), Err(WindowError::OutOfTurn(0)));
        assert_eq!(sender.frame(1), Ok(&[1][..]));
        assert_eq!(sender.frame(2), Err(WindowError::OutOfTurn(2)));
        assert_eq!(
            sender.frame(u64::MAX),
            Err(WindowError::OutOfTurn(u64::MAX))
        );

        let mut receiver = ReceiveWindow::default();
        receiver.accept(1, vec![1]).unwrap();
        assert_eq!(receiver.acknowledged(), 0);
        assert_eq!(receiver.accept(1, vec![1]), Err(WindowError::OutOfTurn(1)));
        let beyond = u64::try_from(WINDOW).unwrap();
        assert_eq!(
            receiver.accept(beyond, vec![]),
            Err(WindowError::OutOfTurn(beyond))
        );
        receiver.accept(0, vec![0]).unwrap();
        assert_eq!(receiver.acknowledged(), 2);
        assert_eq!(receiver.take(), Some(vec![0]));
        assert_eq!(receiver.reject(0), Err(WindowError::OutOfTurn(0)));
    }

    #[test]
    fn a_channel_that_always_damages_is_given_up() {
        let mut receiver = ReceiveWindow::default();
        for _ in 1..MAX_REPEATS {
            receiver.reject(0).unwrap();
        }
        assert_eq!(receiver.reject(0), Err(WindowError::Hopeless(0)));
    }
}
