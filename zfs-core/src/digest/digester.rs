use super::builder::{ContentBuilder, KEPT};
use super::content::ContentTree;
use super::transport::{TransportBuilder, TransportTree};
use super::{Digest, DigestError, DigestProblem};
use crate::stream::{Body, HeaderKind, Observer, Record};

/// Computes both digests of a stream, in one pass and in a few MiB.
///
/// It is an [`Observer`]: give it to a [`PassThrough`](crate::stream::PassThrough), or show it each
/// record of a reader.
///
/// ```no_run
/// use zfs_core::digest::Digester;
/// use zfs_core::stream::{Observer, StreamReader};
///
/// let mut reader = StreamReader::new(std::fs::File::open("acme.zstream")?);
/// let mut digester = Digester::new();
/// while let Some(record) = reader.next_record()? {
///     digester.record(&record);
/// }
/// let digests = digester.finish()?;
/// println!("{}", digests.transport().root());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Digester {
    transport: TransportBuilder,
    open: Option<ContentBuilder>,
    contents: Vec<ContentTree>,
    /// Of a compound stream: what comes between its streams is no error.
    compound: bool,
    error: Option<DigestError>,
}

impl Default for Digester {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Digester {
    fn record(&mut self, record: &Record<'_>) {
        let digest = Digest::of(record.payload);
        let payload = (!record.payload.is_empty()).then_some(&digest);
        self.transport
            .record(record.header, payload, record.payload.len());
        if self.error.is_some() {
            return;
        }
        if let Err(problem) = self.content(record, &digest) {
            self.error = Some(DigestError {
                record: record.number,
                offset: record.offset,
                problem,
            });
        }
    }
}

impl Digester {
    /// A digester that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            transport: TransportBuilder::new(),
            open: None,
            contents: Vec::new(),
            compound: false,
            error: None,
        }
    }

    fn content(&mut self, record: &Record<'_>, digest: &Digest) -> Result<(), DigestProblem> {
        match (&record.body, &mut self.open) {
            (Body::Begin(begin), None) if begin.kind == HeaderKind::Compound => {
                self.compound = true;
                Ok(())
            }
            (Body::Begin(begin), None) => {
                self.open = Some(ContentBuilder::new(begin));
                Ok(())
            }
            (Body::End(_), Some(_)) => self.close(),
            (Body::End(_), None) if self.compound => Ok(()),
            (body, Some(open)) => open.record(body, record.payload, digest),
            (_, None) => Err(DigestProblem::OutsideStream),
        }
    }

    fn close(&mut self) -> Result<(), DigestProblem> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        self.contents.push(open.finish()?);
        // A compound stream can have any number of streams: of the first ones the roots remain.
        let mut kept: usize = 0;
        for tree in self.contents.iter_mut().rev() {
            kept = kept.saturating_add(tree.kept());
            if kept > 2 * KEPT {
                tree.coarsen(1);
            }
        }
        Ok(())
    }

    /// The digests of what was seen, which may be less than a whole stream:
    /// [`is_complete`](Digests::is_complete) tells.
    ///
    /// # Errors
    ///
    /// [`DigestError`] with the first thing that is wrong with the stream, though all its checksums
    /// are right: see [`DigestProblem`].
    pub fn finish(mut self) -> Result<Digests, DigestError> {
        let complete = self.open.is_none() && !self.contents.is_empty();
        let closed = self.close();
        let transport = self.transport.finish();
        if let Some(error) = self.error {
            return Err(error);
        }
        closed.map_err(|problem| DigestError {
            record: transport.records(),
            offset: transport.bytes(),
            problem,
        })?;
        Ok(Digests {
            transport,
            contents: self.contents,
            complete,
        })
    }
}

/// The digests of a stream.
#[derive(Clone, Debug)]
pub struct Digests {
    transport: TransportTree,
    contents: Vec<ContentTree>,
    complete: bool,
}

impl Digests {
    /// The digest of the bytes.
    #[must_use]
    pub fn transport(&self) -> &TransportTree {
        &self.transport
    }

    /// The digests of the snapshots in the stream, in its order: one, or several in a compound
    /// stream. Of the first snapshots of a long compound stream only the roots were kept.
    #[must_use]
    pub fn contents(&self) -> &[ContentTree] {
        &self.contents
    }

    /// The digest of the snapshot, if it is the only one in the stream.
    #[must_use]
    pub fn content(&self) -> Option<&ContentTree> {
        match self.contents.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether the stream's end was seen. If not, the last of the contents is what came of it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}
