//! Who answers SQL: a running instance over HTTP, or the archive of a data directory when none runs.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use query::{ChainTables, Engine, Format};
use schemas::Fault;

use super::client::{Peer, causes};
use crate::access::local_token_file;
use crate::config::Config;
use crate::error::CommandError;
use crate::stores;

/// Who answers.
pub(crate) enum Source {
    Instance(Box<Peer>),
    Directory {
        engine: Box<Engine>,
        /// Of the archive.
        url: String,
    },
}

/// An answer as bytes of some format, as they come.
pub(crate) struct Chunks {
    /// What the answer lacks, for people.
    pub(crate) note: Option<String>,
    pub(crate) bytes: BoxStream<'static, Result<Bytes, CommandError>>,
}

/// An answer as rows, as they come.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) note: Option<String>,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch, CommandError>>,
}

impl Source {
    /// The instance at `url`; without one, that of our data directory if it runs, else its archive.
    pub(crate) async fn find(config: &Config, url: Option<&str>) -> Result<Source, CommandError> {
        let asked = match url {
            Some(url) => Some(Peer::new(url)?),
            None => find_instance(config).await?,
        };
        if let Some(peer) = asked {
            return Ok(Source::Instance(Box::new(peer)));
        }
        let archive = stores::existing_archive(config)?;
        let topic = stores::topics(config).samples();
        let engine = Engine::new(
            archive.store(),
            Arc::new(ChainTables::new(archive.clone(), &topic)),
            config.query.clone(),
        );
        Ok(Source::Directory {
            engine: Box::new(engine),
            url: archive.url().to_owned(),
        })
    }

    /// Who it is, for people.
    pub(crate) fn told(&self) -> String {
        match self {
            Source::Instance(peer) => format!("asking the instance at {}", peer.url()),
            Source::Directory { url, .. } => format!(
                "no instance answers; reading the archive at {url} (what is not in it yet is left out)"
            ),
        }
    }

    /// Asks for an answer in a format. Dropping the answer stops the query, also in the instance.
    pub(crate) async fn chunks(&self, sql: &str, format: Format) -> Result<Chunks, CommandError> {
        match self {
            Source::Instance(peer) => {
                let response = post(peer, sql, format).await?;
                let url = peer.url();
                Ok(Chunks {
                    note: note(&response),
                    bytes: body(response, url).boxed(),
                })
            }
            Source::Directory { engine, .. } => {
                let answer = engine.query(sql).await.map_err(failed)?;
                Ok(Chunks {
                    note: None,
                    bytes: query::encode(answer, format).map_err(failed).boxed(),
                })
            }
        }
    }

    /// Asks for the rows of an answer. Returns with the first ones. Dropping the answer stops the query, also in the instance.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Rows, CommandError> {
        match self {
            Source::Instance(peer) => {
                let response = post(peer, sql, Format::ArrowStream).await?;
                decode(note(&response), body(response, peer.url()).boxed()).await
            }
            Source::Directory { engine, .. } => {
                let answer = engine.query(sql).await.map_err(failed)?;
                Ok(Rows {
                    schema: answer.schema,
                    note: None,
                    batches: answer.rows.map_err(failed).boxed(),
                })
            }
        }
    }
}

fn failed(error: query::QueryError) -> CommandError {
    CommandError::of("sql", error)
}

/// The instance of our data directory if it runs; where no data directory was named, any that listens at the address of the settings.
pub(crate) async fn find_instance(config: &Config) -> Result<Option<Peer>, CommandError> {
    let data_dir = stores::existing_data_dir(config);
    let told = data_dir
        .as_ref()
        .and_then(|dir| crate::app::read_address(dir));
    let token = data_dir
        .as_ref()
        .and_then(|dir| std::fs::read_to_string(local_token_file(dir)).ok());
    let named = config.is_set("data.dir");
    for address in told.into_iter().chain([config.server.listen]) {
        let mut peer = Peer::on_this_machine(address, data_dir.as_deref())?;
        if let Some(token) = &token {
            peer = peer.or_token(token)?;
        }
        if let Some(instance) = peer.instance().await
            && (!named || Some(&instance.data_dir) == data_dir.as_ref())
        {
            return Ok(Some(peer));
        }
    }
    Ok(None)
}

async fn post(peer: &Peer, sql: &str, format: Format) -> Result<Response<Incoming>, CommandError> {
    let question = serde_json::json!({ "query": sql, "format": format.name() }).to_string();
    let headers = [("content-type", "application/json")];
    peer.ask(Method::POST, "/api/v1/sql", &headers, question.into())
        .await
}

fn note(response: &Response<Incoming>) -> Option<String> {
    let header = response.headers().get(crate::http::NOTES_HEADER)?;
    Some(header.to_str().ok()?.to_owned())
}

fn body(
    response: Response<Incoming>,
    url: String,
) -> impl stream::Stream<Item = Result<Bytes, CommandError>> {
    response
        .into_body()
        .into_data_stream()
        .map_err(move |error| {
            CommandError::surroundings(format!(
                "the answer of {url} broke off: {}; its log says why",
                causes(&error)
            ))
        })
}

/// Rows from the bytes of an Arrow stream.
struct Decoding {
    bytes: BoxStream<'static, Result<Bytes, CommandError>>,
    decoder: StreamDecoder,
    buffer: Buffer,
}

impl Decoding {
    async fn next(&mut self) -> Result<Option<RecordBatch>, CommandError> {
        let damaged = |error: arrow::error::ArrowError| CommandError::Failed {
            message: format!(
                "the answer can't be read: {error}; is the instance of another version?"
            ),
            fault: Fault::Bug,
        };
        loop {
            while !self.buffer.is_empty() {
                let batch = self.decoder.decode(&mut self.buffer).map_err(damaged)?;
                if batch.is_some() {
                    return Ok(batch);
                }
            }
            match self.bytes.next().await {
                Some(chunk) => self.buffer = Buffer::from(chunk?),
                None => {
                    self.decoder.finish().map_err(damaged)?;
                    return Ok(None);
                }
            }
        }
    }
}

async fn decode(
    note: Option<String>,
    bytes: BoxStream<'static, Result<Bytes, CommandError>>,
) -> Result<Rows, CommandError> {
    let mut decoding = Decoding {
        bytes,
        decoder: StreamDecoder::new(),
        buffer: Buffer::from(Bytes::new()),
    };
    let first = decoding.next().await?;
    let schema = decoding.decoder.schema().ok_or_else(|| {
        CommandError::surroundings("the answer ended before it told its columns".to_owned())
    })?;
    let rest = stream::try_unfold(decoding, async |mut decoding| {
        Ok(decoding.next().await?.map(|batch| (batch, decoding)))
    });
    Ok(Rows {
        schema,
        note,
        batches: stream::iter(first.map(Ok)).chain(rest).boxed(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    fn encoded() -> Vec<u8> {
        let column = |values: [i64; 2]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
        let batch = |values| RecordBatch::try_from_iter([("n", column(values))]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch([0, 0]).schema()).unwrap();
        writer.write(&batch([1, 2])).unwrap();
        writer.write(&batch([3, 4])).unwrap();
        writer.into_inner().unwrap()
    }

    async fn read(bytes: &[u8], chunk_bytes: usize) -> Result<usize, CommandError> {
        let chunks: Vec<_> = bytes
            .chunks(chunk_bytes)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let rows = decode(None, stream::iter(chunks).boxed()).await?;
        let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    #[tokio::test]
    async fn rows_are_read_however_the_bytes_are_cut_and_a_missing_end_is_an_error() {
        let bytes = encoded();
        for chunk_bytes in [1, 7, 64, bytes.len()] {
            assert_eq!(read(&bytes, chunk_bytes).await.unwrap(), 4, "{chunk_bytes}");
        }
        for missing in [1, 9, 200, bytes.len()] {
            assert!(
                read(&bytes[..bytes.len() - missing], 64).await.is_err(),
                "{missing}"
            );
        }
        assert!(read(b"<html>no such thing</html>", 8).await.is_err());
    }
}
