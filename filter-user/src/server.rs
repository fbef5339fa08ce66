//! The HTTP server for metrics.

mod connections;

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE, VARY},
    },
    response::{Html, IntoResponse, Response},
    routing::get,
};
use log::warn;
use tokio::{net::TcpListener, sync::watch};

use self::connections::{LIMITS, accept};
use crate::metrics::{Format, Metrics};

const LANDING_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>lastack</title>\
    <h1>lastack</h1><p><a href=/metrics>Metrics</a>, <a href=/healthz>health</a>, \
    <a href=/readyz>readiness</a></html>\n";

/// Serves until the sender of `stopped` goes away; then every connection is ended.
///
/// It is meant for a scraper or two. Clients that are slow, many or hostile end one another's
/// connections (`LIMITS`); they cost a bounded number of descriptors and a bounded amount of memory.
pub async fn serve(listener: TcpListener, metrics: Metrics, mut stopped: watch::Receiver<()>) {
    let router = Router::new()
        .route("/", get(async || Html(LANDING_PAGE)))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(metrics);
    tokio::select! {
        () = accept(listener, router, LIMITS) => {}
        _ = stopped.changed() => {}
    }
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter();
    let format = Format::negotiate(accepted.filter_map(|value| value.to_str().ok()));
    match metrics.encode(format).await {
        Ok(text) => {
            let headers = [(CONTENT_TYPE, format.content_type()), (VARY, "accept")];
            (headers, text).into_response()
        }
        Err(error) => {
            warn!("metrics: {error:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response()
        }
    }
}

/// Health is for those who restart what is not healthy, which mends no interface; readiness is
/// whether all of them are served.
async fn ready(State(metrics): State<Metrics>) -> Response {
    let unserved = metrics.unserved();
    if unserved.is_empty() {
        return "ok\n".into_response();
    }
    let lines = unserved.into_iter().map(|(interface, trouble)| {
        let trouble = trouble.as_deref().unwrap_or("there is no such interface");
        format!("{interface}: not served: {trouble}\n")
    });
    let lines: String = lines.collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}
