// What scenarios.py says, with @stomp/stompjs. It wants a WebSocket; here it gets a TCP socket.
import net from 'node:net';
import { createRequire } from 'node:module';

const { Client, Versions } = createRequire(`${process.env.NODE_MODULES}/`)('@stomp/stompjs');
const [port, version, scenario, name] = process.argv.slice(2);
const topic = `/topic/${name}`;
const queue = `/queue/${name}`;
const WAIT_MS = 20000;

// As much of a WebSocket as the library uses; all of the stream is one "message" after another.
class TcpSocket {
  constructor() {
    this.readyState = 0;
    this.url = `tcp://127.0.0.1:${port}`;
    this.socket = net.connect(Number(port), '127.0.0.1', () => {
      this.readyState = 1;
      this.onopen();
    });
    this.socket.on('data', (data) => this.onmessage({ data }));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.readyState = 3;
      this.onclose({ code: 1000, reason: '' });
    });
  }
  send(data) { this.socket.write(typeof data === 'string' ? data : new Uint8Array(data)); }
  close() { this.socket.end(); }
  terminate() { this.socket.destroy(); }
}

// Values that come one by one, for whoever waits for them.
class Line {
  constructor() { this.values = []; this.waiting = []; }
  put(value) { const next = this.waiting.shift(); if (next) next(value); else this.values.push(value); }
  next(what) {
    if (this.values.length) return Promise.resolve(this.values.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what}`)), WAIT_MS);
      this.waiting.push((value) => { clearTimeout(timer); resolve(value); });
    });
  }
}

class Party {
  constructor({ beatMs = 0, passcode = process.env.STOMP_PASSCODE } = {}) {
    this.messages = new Line();
    this.errors = new Line();
    this.closed = new Line();
    this.connected = new Line();
    this.bye = new Line();
    this.receipts = 0;
    this.client = new Client({
      webSocketFactory: () => new TcpSocket(),
      stompVersions: new Versions([version]),
      connectHeaders: { login: process.env.STOMP_LOGIN, passcode, host: '/' },
      disconnectHeaders: { receipt: 'bye' },
      forceBinaryWSFrames: true,
      heartbeatIncoming: beatMs,
      heartbeatOutgoing: beatMs,
      reconnectDelay: 0,
      onConnect: () => this.connected.put(true),
      onDisconnect: (frame) => this.bye.put(frame.headers['receipt-id']),
      onStompError: (frame) => this.errors.put(frame.headers.message),
      onWebSocketClose: () => this.closed.put(true),
    });
    this.client.activate();
  }
  static async ready(options) {
    const party = new Party(options);
    await party.connected.next('CONNECTED');
    return party;
  }
  // A promise of the receipt that `act` asks for by the header it is given.
  confirmed(act) {
    const receipt = `r-${++this.receipts}`;
    const done = new Line();
    this.client.watchForReceipt(receipt, () => done.put(receipt));
    act({ receipt });
    return done.next('RECEIPT');
  }
  subscribe(destination, more = {}) {
    return this.confirmed((headers) => {
      this.subscription = this.client.subscribe(
        destination, (message) => this.messages.put(message), { ...headers, ...more });
    });
  }
  send(destination, body, headers = {}) { this.client.publish({ destination, body, headers }); }
  message() { return this.messages.next('MESSAGE'); }
  async text() { return (await this.message()).body; }
  async untilEnd() {
    const got = [];
    for (let body = await this.text(); body !== 'end'; body = await this.text()) got.push(body);
    return got;
  }
  async end() {
    this.client.deactivate();
    return this.bye.next('RECEIPT of DISCONNECT');
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function acknowledge(mode) {
  const party = await Party.ready();
  for (const body of ['1', '2', '3']) party.send(queue, body);
  await party.subscribe(queue, { ack: mode });
  const messages = [await party.message(), await party.message(), await party.message()];
  await party.confirmed((headers) => messages[1].ack(headers));
  await party.end();
  const again = await Party.ready();
  await again.subscribe(queue);
  again.send(queue, 'end');
  const result = { first: messages.map((message) => message.body), again: await again.untilEnd() };
  await again.end();
  return result;
}

const scenarios = {
  async binary() {
    const party = await Party.ready();
    await party.subscribe(topic);
    party.client.publish({
      destination: topic,
      binaryBody: Uint8Array.from({ length: 256 }, (_, octet) => octet),
      headers: { mac: '52:54:00:aa:bb:cc' },
    });
    const message = await party.message();
    await party.end();
    // In 1.1 it leaves the escapes of headers to others.
    const mac = message.headers.mac.replaceAll('\\c', ':');
    return { body: Buffer.from(message.binaryBody).toString('hex'), mac };
  },
  async receipt() {
    const party = await Party.ready();
    const first = await party.confirmed((headers) => party.send(topic, 'x', headers));
    return { receipts: [first, await party.end()] };
  },
  async unsubscribe() {
    const party = await Party.ready();
    await party.subscribe(topic);
    party.send(topic, 'one');
    const got = [await party.text()];
    party.subscription.unsubscribe();
    party.send(topic, 'two');
    await party.subscribe(`${topic}-end`);
    party.send(`${topic}-end`, 'end');
    got.push(...await party.untilEnd());
    await party.end();
    return { got };
  },
  async refused() {
    const party = await Party.ready();
    party.client.subscribe('/topic/forbidden', () => {});
    return { error: await party.errors.next('ERROR'), closed: await party.closed.next('close') };
  },
  async login() {
    return { error: await new Party({ passcode: 'wrong' }).errors.next('ERROR') };
  },
  ack: () => acknowledge('client'),
  ack_individual: () => acknowledge('client-individual'),
  async nack() {
    const party = await Party.ready();
    await party.subscribe(queue, { ack: 'client-individual' });
    const message = await party.message();
    await party.confirmed((headers) => message.nack(headers));
    await party.end();
    return { nacked: true };
  },
  async transaction() {
    const party = await Party.ready();
    await party.subscribe(topic);
    const kept = party.client.begin('t1');
    party.send(topic, 'a', { transaction: 't1' });
    party.send(topic, 'outside');
    party.send(topic, 'b', { transaction: 't1' });
    const got = [await party.text()];
    kept.commit();
    const dropped = party.client.begin('t2');
    party.send(topic, 'aborted', { transaction: 't2' });
    dropped.abort();
    party.send(topic, 'end');
    got.push(...await party.untilEnd());
    await party.end();
    return { got };
  },
  async heart_beat() {
    const party = await Party.ready({ beatMs: 500 });
    await party.subscribe(topic);
    await pause(2500);
    party.send(topic, 'alive');
    return { got: [await party.text()], bye: await party.end() };
  },
  async hold() {
    const party = await Party.ready({ beatMs: 500 });
    await party.subscribe(queue, { ack: 'client-individual' });
    console.log(await party.text());
    await pause(60000);
    return {};
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);
