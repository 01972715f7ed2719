// The keyboard, the player, and cards that open beside the list. Without it, every link still works.
import WaveSurfer from "./wavesurfer.esm.js";

const $ = (selector, root = document) => root.querySelector(selector);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const nonce = $("meta[name=csp-nonce]").content;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const SECONDS = 5;
let player = null;

function words(seconds) {
  const whole = Math.floor(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

class Player {
  constructor(root) {
    this.root = root;
    this.wave = $(".wave", root);
    this.seconds = Number(root.dataset.seconds);
    this.audio = new Audio();
    this.audio.preload = "none"; // nothing is asked for before play: that is what is logged
    this.audio.src = root.dataset.media;
    $(".play", root).addEventListener("click", () => this.toggle());
    $("select", root).addEventListener("change", (event) => { this.audio.playbackRate = Number(event.target.value); });
    this.wave.addEventListener("keydown", (event) => this.slide(event));
    this.wave.addEventListener("click", (event) => this.jump(event));
    for (const name of ["play", "pause", "ended", "timeupdate", "seeked"]) this.audio.addEventListener(name, () => this.show());
    this.audio.addEventListener("error", () => { if (this.asked) $(".cannot", root).hidden = false; });
    this.draw();
  }

  async draw() {
    const answer = await fetch(this.root.dataset.peaks).catch(() => null);
    const told = answer?.ok ? await answer.json() : {};
    if (!told.peaks?.[0]?.length || !this.root.isConnected) return;
    const two = told.peaks.length === 2, height = two ? 56 : 80;
    const channel = (name) => ({ overlay: false, waveColor: `color-mix(in srgb, ${colour(name)} 45%, ${colour("--raised")})`, progressColor: colour(name) });
    this.wave.classList.add("drawn");
    this.surfer = WaveSurfer.create({
      container: this.wave, media: this.audio, peaks: told.peaks, duration: this.seconds || told.seconds || 1, height, cspNonce: nonce,
      normalize: true, barWidth: 2, barGap: 1, barRadius: 2, cursorColor: colour("--ink"), cursorWidth: 1, interact: false,
      autoScroll: false, splitChannels: told.peaks.map((_, at) => channel(at % 2 ? "--second" : "--first")),
    });
    $(".channels", this.root).hidden = !two;
    this.root.dataset.drawn = String(told.peaks.length);
  }

  get length() { return Number.isFinite(this.audio.duration) ? this.audio.duration : this.seconds; }

  toggle() {
    this.asked = true;
    if (!this.audio.paused) return this.audio.pause();
    this.audio.play().catch(() => {});
  }

  seek(seconds) {
    const at = Math.max(0, Math.min(seconds, this.length));
    if (this.audio.readyState) this.audio.currentTime = at;
    else this.audio.addEventListener("loadedmetadata", () => { this.audio.currentTime = at; }, { once: true });
    this.show(at);
  }

  jump(event) {
    const box = this.wave.getBoundingClientRect();
    this.seek(((event.clientX - box.left) / box.width) * this.length);
    if (this.audio.paused) this.toggle();
  }

  slide(event) {
    const by = { ArrowLeft: -SECONDS, ArrowRight: SECONDS, ArrowDown: -SECONDS, ArrowUp: SECONDS, PageDown: -30, PageUp: 30, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.seek(this.audio.currentTime + by);
  }

  show(at = this.audio.currentTime) {
    const playing = !this.audio.paused && !this.audio.ended;
    this.root.classList.toggle("playing", playing);
    $(".play", this.root).setAttribute("aria-label", playing ? "Pause" : "Play");
    $(".now", this.root).textContent = words(at);
    this.wave.setAttribute("aria-valuenow", String(Math.round(at)));
    this.wave.setAttribute("aria-valuetext", words(at));
  }

  end() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.surfer?.destroy();
  }
}

function begin() {
  player?.end();
  const root = $(".player");
  player = root ? new Player(root) : null;
}

async function open(link, push = true) {
  const answer = await fetch(link.href, { headers: { "x-part": "card" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) { location.href = link.href; return; }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!$("article", page)) { location.href = link.href; return; }
  $("#card").replaceChildren($("article", page));
  $("main").classList.replace("no-card", "has-card");
  for (const each of document.querySelectorAll(".rows [aria-current]")) each.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  link.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  $("#card").scrollTop = 0;
  if (matchMedia("(max-width: 820px)").matches) { scrollTo(0, 0); $("#card h2").focus(); }
  if (push) history.pushState({}, "", link.href);
  document.title = `${$("#card article").dataset.name} · recvault`;
  begin();
}

function step(by) {
  const links = [...document.querySelectorAll(".rows a")];
  const next = links[links.findIndex((each) => each.hasAttribute("aria-current")) + by];
  if (next) open(next);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === " " && player && !event.target.closest("button, summary, a.button")) { event.preventDefault(); player.toggle(); }
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") { event.preventDefault(); $("#q").focus(); $("#q").select(); }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest(".rows a");
  if (link && !document.body.dataset.plain && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) { event.preventDefault(); open(link); }
  const back = event.target.closest(".back a");
  if (back && $("#list")) { event.preventDefault(); $("main").classList.replace("has-card", "no-card"); player?.end(); player = null; history.pushState({}, "", back.href); $(".rows [aria-current]")?.focus(); }
});
addEventListener("popstate", () => location.reload());
$(".rows [aria-current]")?.scrollIntoView({ block: "center" });
begin();
