// What the page knows, and what everybody believed at a time.

const data = JSON.parse(document.getElementById("data").textContent);
const names = data.nodes;
const count = names.length;
const STATES = ["unknown", "alive", "suspect", "leaving", "left", "failed"];
const DOWN = 10, UP = 11, FROZEN = 12;

// Every change as columns; the groups of the data are taken apart.
const flow = (() => {
  const each = (act) => {
    let at = 0, place = 0;
    for (const group of data.changes) {
      at += group[0];
      if (group.length === 3) act(place++, at, group[1], group[2], 0, 0);
      for (let i = 4; i < group.length; i++) {
        const more = group[i] < 0 ? -group[i] : 1;
        const first = group[i] < 0 ? group[i - 1] + 1 : group[i];
        for (let of = first; of < first + more; of++) act(place++, at, group[1], group[2], group[3], of);
      }
    }
    return place;
  };
  const length = each(() => {});
  const columns = {
    length,
    at: new Float64Array(length),
    node: new Uint16Array(length),
    state: new Uint8Array(length),
    incarnation: new Uint32Array(length),
    of: new Uint16Array(length),
  };
  each((place, at, node, state, incarnation, of) => {
    columns.at[place] = at;
    columns.node[place] = node;
    columns.state[place] = state;
    columns.incarnation[place] = incarnation;
    columns.of[place] = of;
  });
  return columns;
})();

// What everybody believes at a time, and of how many of the others each believes what.
class Beliefs {
  constructor() {
    this.state = new Uint8Array(count * count);
    this.incarnation = new Uint32Array(count * count);
    this.since = new Float64Array(count * count);
    this.process = new Uint8Array(count);
    this.counts = new Uint16Array(count * STATES.length);
    this.reset();
  }

  reset() {
    this.next = 0;
    this.time = -1;
    this.state.fill(0);
    this.process.fill(DOWN);
    this.counts.fill(0);
    for (let node = 0; node < count; node++) this.counts[node * STATES.length] = count - 1;
  }

  seek(time) {
    if (time < this.time) this.reset();
    while (this.next < flow.length && flow.at[this.next] <= time) this.step();
    this.time = time;
  }

  step() {
    const place = this.next++;
    const node = flow.node[place], state = flow.state[place];
    const counts = node * STATES.length;
    if (state >= DOWN) {
      this.process[node] = state;
      if (state === DOWN) {
        this.state.fill(0, node * count, (node + 1) * count);
        this.counts.fill(0, counts, counts + STATES.length);
        this.counts[counts] = count - 1;
      }
      return;
    }
    const of = flow.of[place], cell = node * count + of;
    if (of !== node) {
      this.counts[counts + this.state[cell]]--;
      this.counts[counts + state]++;
    }
    if (this.state[cell] !== state || this.incarnation[cell] !== flow.incarnation[place]) this.since[cell] = flow.at[place];
    this.state[cell] = state;
    this.incarnation[cell] = flow.incarnation[place];
  }
}

const clock = (ms) => `${Math.floor(ms / 1000)}.${String(Math.floor((ms % 1000) / 10)).padStart(2, "0")}s`;

// The name of a node, and the one under which it ran at a time if that was another's.
function nameAt(node, time) {
  let name = names[node];
  for (const [at, host, other] of data.aliases) if (host === node && at <= time) name = `${names[node]} (as ${other})`;
  return name;
}

function beliefText(beliefs, node, of) {
  const time = beliefs.time, who = nameAt(node, time), cell = node * count + of;
  const whom = node === of ? "itself" : names[of];
  if (beliefs.process[node] === DOWN) return `at ${clock(time)} no process runs on ${who}`;
  const frozen = beliefs.process[node] === FROZEN ? ", frozen," : "";
  if (beliefs.state[cell] === 0) return `at ${clock(time)} ${who}${frozen} knows nothing of ${whom}`;
  const state = STATES[beliefs.state[cell]];
  return `at ${clock(time)} ${who}${frozen} believes ${whom} ${state} (incarnation ${beliefs.incarnation[cell]}), since ${clock(beliefs.since[cell])}`;
}

function countsText(counts) {
  const parts = [];
  for (let state = 1; state < STATES.length; state++) if (counts[state] > 0) parts.push(`${counts[state]} ${STATES[state]}`);
  if (counts[0] > 0) parts.push(`${counts[0]} unknown`);
  return parts.length ? parts.join(", ") : "nobody";
}

// The moment at which the most beliefs were "failed"; the end if there was none.
function worstMoment() {
  const beliefs = new Beliefs();
  let failed = 0, most = 0, worst = data.end;
  while (beliefs.next < flow.length) {
    const node = flow.node[beliefs.next], at = flow.at[beliefs.next], place = node * STATES.length + 5;
    failed -= beliefs.counts[place];
    beliefs.step();
    failed += beliefs.counts[place];
    if (failed > most) [most, worst] = [failed, at];
  }
  return worst;
}
