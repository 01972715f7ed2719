"""Every metric that a scrape shows, and what each says to an operator."""

from __future__ import annotations

from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP: Mapping[str, str] = {
    "recvault_last_success_timestamp_seconds": "When the last whole scan of an account's list ended.",
    "recvault_watermark_timestamp_seconds": "Everything the provider lists as older than this is registered.",
    "recvault_watermark_lag_seconds": (
        "How far the watermark is behind now. It grows on a quiet account, too: alarm on recvault_source_stale."
    ),
    "recvault_last_archived_timestamp_seconds": "When a recording of the account was last archived.",
    "recvault_recordings": (
        "Recordings by where they stand now, each counted once: pending has not failed so far, failing will be tried "
        "again, not_ready is unfinished at the provider, dead is given up, accepted is accepted as lost by the "
        "operator, quarantined is a row that cannot be read."
    ),
    "recvault_oldest_pending_age_seconds": "Age of the oldest recording not archived yet; 0 where none waits.",
    "recvault_oldest_waiting_age_seconds": (
        "How long the recording that could be archived and has waited longest has waited; 0 where none waits."
    ),
    "recvault_oldest_transfer_age_seconds": (
        "How long the transfer that began first of those under way has been running; 0 if there is none."
    ),
    "recvault_next_attempt_timestamp_seconds": "When the next recording of the account is due.",
    "recvault_source_condition": (
        "1 for the condition that the account is in (ok, new, slow, attention, failing, stale), 0 for the others; "
        "`recvault status` says why."
    ),
    "recvault_source_stale": (
        "1 where an account had no complete scan, or no archived recording although some wait, for stale_after."
    ),
    "recvault_api_requests_total": "Requests sent to a provider's API, by the status it answered; error: no answer.",
    "recvault_api_concurrency": "Requests that may run at once now, as the provider's refusals and waits have shown.",
    "recvault_api_concurrency_max": "Requests that may run at once at most, as configured by max_concurrency.",
    "recvault_trouble": (
        "1 while the bucket or the ledger cannot be used, by part; the log and /healthz say why. Meanwhile recordings "
        "wait."
    ),
    "recvault_stale_after_seconds": "How long an account may have no success before it is stale, as configured.",
    "recvault_config_last_reload_successful": "1 where the configuration was last read without a problem, else 0.",
    "recvault_config_last_reload_success_timestamp_seconds": "When the configuration in use was read.",
    "recvault_scrape_error": "1 where something could not be asked for this scrape and is missing from it.",
    "recvault_build_info": "1; the label says which version runs.",
    "recvault_polls_total": "Scans of an account's list that ended, by result: success, or the error's name.",
    "recvault_poll_duration_seconds": "How long scans of an account's list took, however they ended.",
    "recvault_polls_skipped_total": "Polls left out because the source's last one was still running.",
    "recvault_attempts_total": "Attempts to archive a recording, by the state that the recording came to.",
    "recvault_failures_total": "Attempts to archive a recording that failed, by reason; `recvault failures` has each.",
    "recvault_archived_recordings_total": "Recordings archived.",
    "recvault_archived_bytes_total": "Bytes of the media of recordings archived.",
    "recvault_suspect_media_total": (
        "Media archived although they do not prove right: short, broken, or opened by no private key."
    ),
    "recvault_transfer_duration_seconds": "How long attempts to archive a recording took, however they ended.",
    "recvault_manifests_complete_timestamp_seconds": (
        "When manifests last listed everything archived on days that had ended. Before the first time it is when the "
        "ledger was created; 0 where manifests are not written by this process."
    ),
    "recvault_manifest_troubles_total": "Files or manifests that were not as they should be as manifests were written.",
    "recvault_job_errors_total": "Scheduled jobs that ended in an error nobody expects; the log holds it.",
    "recvault_pings_failed_total": "Pings to ping_url that did not arrive.",
    "recvault_reconcile_missed_recordings_total": "Recordings that polls missed and a reconcile found: should be 0.",
    "recvault_reconcile_lateness_max_seconds": (
        "The latest that a recording was listed after its date, of those that polls missed; lookback should exceed it."
    ),
}
NAMES = frozenset(HELP)
"""Every family that a scrape shows, as its # TYPE line has it; a histogram's series add _bucket, _sum and _count."""

FEED = ("source", "account_id")
FEED_GAUGES: Mapping[str, tuple[str, ...]] = {  # how an account stands, with their labels
    "recvault_last_success_timestamp_seconds": FEED,
    "recvault_watermark_timestamp_seconds": FEED,
    "recvault_watermark_lag_seconds": FEED,
    "recvault_last_archived_timestamp_seconds": FEED,
    "recvault_recordings": (*FEED, "state"),
    "recvault_oldest_pending_age_seconds": FEED,
    "recvault_oldest_waiting_age_seconds": FEED,
    "recvault_oldest_transfer_age_seconds": FEED,
    "recvault_next_attempt_timestamp_seconds": FEED,
    "recvault_source_condition": (*FEED, "condition"),
    "recvault_source_stale": FEED,
}
