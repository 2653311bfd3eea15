//! HTTP answers, from bytes that anybody may have sent.

use std::time::Duration;

use super::wiped::Wiped;

/// The longest body. A version of a secret takes some hundred bytes, and so does what is listed of
/// each.
pub(super) const MAX_BODY: usize = 256 << 10;

/// The longest head.
const MAX_HEAD: usize = 16 << 10;

const MAX_HEADERS: usize = 64;

/// An answer, complete.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Wiped,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer(pub(super) &'static str);

/// What has come of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Wiped,
    /// Where the final head begins, after those of interim answers.
    start: usize,
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    retry_after: Option<Duration>,
    /// Where the body begins.
    body: usize,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    /// Until the connection is closed.
    Close,
}

impl Incoming {
    /// Takes what came; gives the answer when it is complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Answer>, NoAnswer> {
        self.bytes.push(bytes);
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let body = self.bytes.get(head.body..).unwrap_or_default();
        let body = match head.framing {
            Framing::Length(len) => body.get(..len).map(copied),
            Framing::Chunked => joined(body)?,
            Framing::Close if body.len() > MAX_BODY => return Err(TOO_LONG),
            Framing::Close => None,
        };
        Ok(body.map(|body| head.answer(body)))
    }

    /// The connection was closed in order; gives the answer if that completes it.
    pub(super) fn end(&self) -> Option<Answer> {
        let head = self.head.filter(|head| head.framing == Framing::Close)?;
        let body = self.bytes.get(head.body..)?;
        Some(head.answer(copied(body)))
    }

    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn head(&mut self) -> Result<Option<Head>, NoAnswer> {
        while self.head.is_none() {
            let bytes = self.bytes.get(self.start..).unwrap_or_default();
            let Some(head) = parse_head(bytes)? else {
                if self.bytes.len() > MAX_HEAD {
                    return Err(NoAnswer("the answer's head is too long"));
                }
                return Ok(None);
            };
            let body = self.start.saturating_add(head.body);
            if (100..200).contains(&head.status) {
                self.start = body;
            } else {
                self.head = Some(Head { body, ..head });
            }
        }
        Ok(self.head)
    }
}

impl Head {
    fn answer(self, body: Wiped) -> Answer {
        Answer {
            status: self.status,
            retry_after: self.retry_after,
            body,
        }
    }
}

const NO_HTTP: NoAnswer = NoAnswer("it does not answer in HTTP");
const TOO_LONG: NoAnswer = NoAnswer("the answer is too long");

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, NoAnswer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let body = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NO_HTTP),
    };
    let status = response.code.ok_or(NO_HTTP)?;
    let mut framing = Framing::Close;
    let mut retry_after = None;
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let len = value
                .parse()
                .map_err(|_| NoAnswer("the answer's length is no number"))?;
            if len > MAX_BODY {
                return Err(TOO_LONG);
            }
            match framing {
                Framing::Chunked => {}
                Framing::Length(other) if other != len => {
                    return Err(NoAnswer("the answer has two lengths"));
                }
                _ => framing = Framing::Length(len),
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(NoAnswer("the answer's encoding is not known"));
            }
            framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after = value.parse().ok().map(Duration::from_secs);
        }
    }
    if matches!(status, 204 | 304) {
        framing = Framing::Length(0);
    }
    Ok(Some(Head {
        status,
        retry_after,
        body,
        framing,
    }))
}

fn copied(bytes: &[u8]) -> Wiped {
    let mut body = Wiped::with_capacity(bytes.len());
    body.push(bytes);
    body
}

/// The chunks of a body in one, when the last has come.
fn joined(mut chunks: &[u8]) -> Result<Option<Wiped>, NoAnswer> {
    const BROKEN: NoAnswer = NoAnswer("the answer's chunks are broken");
    let mut body = Wiped::with_capacity(chunks.len());
    loop {
        let (start, len) = match httparse::parse_chunk_size(chunks) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(BROKEN),
        };
        if len == 0 {
            // Trailers mean nothing to us, and the connection is not used again.
            return Ok(Some(body));
        }
        let len = usize::try_from(len).map_err(|_| TOO_LONG)?;
        if len > MAX_BODY || body.len() + len > MAX_BODY {
            return Err(TOO_LONG);
        }
        let rest = chunks.get(start..).unwrap_or_default();
        let (Some(data), Some(end)) = (rest.get(..len), rest.get(len..len + 2)) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(BROKEN);
        }
        body.push(data);
        chunks = rest.get(len + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Result<Option<Answer>, NoAnswer> {
        let mut incoming = Incoming::default();
        match incoming.push(bytes)? {
            Some(answer) => Ok(Some(answer)),
            None => Ok(incoming.end()),
        }
    }

    #[test]
    fn the_three_framings() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloXX",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ] {
            let answer = whole(text.as_bytes()).unwrap().unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        }
        let nothing = whole(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((nothing.status, nothing.body.len()), (204, 0));
        let later = whole(b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(later.retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_is_cut_is_no_answer() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n",
        ] {
            let complete = text.len();
            for len in 0..complete {
                let cut = text.as_bytes().get(..len).unwrap();
                assert!(whole(cut).unwrap().is_none(), "{len} of {text:?}");
            }
        }
    }

    #[test]
    fn what_is_too_long_or_no_http_is_refused() {
        let long = MAX_BODY + 1;
        let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {long}\r\n\r\n");
        assert_eq!(whole(announced.as_bytes()).unwrap_err(), TOO_LONG);
        let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{long:x}\r\n");
        assert_eq!(whole(chunk.as_bytes()).unwrap_err(), TOO_LONG);
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; long]].concat();
        assert_eq!(whole(&endless).unwrap_err(), TOO_LONG);
        let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert!(whole(head.as_bytes()).is_err());
        assert_eq!(whole(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap_err(), NO_HTTP);
        for bad in [
            "Content-Length: many",
            "Content-Length: 5\r\nContent-Length: 6",
            "Transfer-Encoding: gzip",
        ] {
            assert!(whole(format!("HTTP/1.1 200 OK\r\n{bad}\r\n\r\n").as_bytes()).is_err());
        }
        let broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhelp\r\n";
        assert!(whole(broken).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            head in "(HTTP/1.1 [0-9]{3} OK\r\n)?((Content-Length|Transfer-Encoding): ?[0-9a-z]{1,20}\r\n){0,3}(\r\n)?",
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [head.as_bytes(), &tail].concat();
            let _ = whole(&bytes);
        }

        #[test]
        fn how_it_is_cut_into_pieces_does_not_matter(
            body in proptest::collection::vec(any::<u8>(), 0..400),
            chunk in 1..50_usize,
            piece in 1..50_usize,
        ) {
            let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for data in body.chunks(chunk) {
                text.extend(format!("{:x}\r\n", data.len()).bytes());
                text.extend(data);
                text.extend(b"\r\n");
            }
            text.extend(b"0\r\n\r\n");
            let mut incoming = Incoming::default();
            let answer = text
                .chunks(piece)
                .find_map(|piece| incoming.push(piece).unwrap())
                .unwrap();
            prop_assert_eq!(&answer.body[..], &body[..]);
        }
    }
}
