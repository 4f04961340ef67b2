// Signers and verifiers that this project did not write, behind one question and one answer, as JSON, on standard
// input and output: {"sign": [{kind, secret, id, at, body}], "verify": [{kind, secret, headers, body}]}.
import '@shopify/shopify-api/adapters/web-api';
import { ApiVersion, LogSeverity, shopifyApi } from '@shopify/shopify-api';
import { createSHA256HMAC } from '@shopify/shopify-api/runtime';
import { sign as octokitSign, verify as octokitVerify } from '@octokit/webhooks-methods';
import { CloudEvent, HTTP } from 'cloudevents';
import { Webhook } from 'standardwebhooks';
import { text } from 'node:stream/consumers';

const event = (one) =>
  new CloudEvent({ id: one.id, source: '/foreign', type: 'price.updated', subject: 'sku 1', time: new Date(one.at * 1000).toISOString(), data: JSON.parse(one.body) });
const shopify = (secret) =>
  shopifyApi({ apiKey: 'key', apiSecretKey: secret, apiVersion: Object.values(ApiVersion).at(-1), isEmbeddedApp: false, hostName: 'receiver.example', logger: { level: LogSeverity.Error, log: () => {} } });

const signers = {
  standard: (one) => ({
    headers: { 'webhook-id': one.id, 'webhook-timestamp': String(one.at), 'webhook-signature': new Webhook(one.secret).sign(one.id, new Date(one.at * 1000), one.body) },
    body: one.body,
  }),
  github: async (one) => ({ headers: { 'x-hub-signature-256': await octokitSign(one.secret, one.body) }, body: one.body }),
  shopify: async (one) => ({ headers: { 'x-shopify-hmac-sha256': await createSHA256HMAC(one.secret, one.body) }, body: one.body }),
  'cloudevents-structured': (one) => HTTP.structured(event(one)),
  'cloudevents-binary': (one) => HTTP.binary(event(one)),
};

const verifiers = {
  standard: (one) => {
    new Webhook(one.secret).verify(one.body, one.headers);
    return true;
  },
  github: (one) => octokitVerify(one.secret, one.body, one.headers['x-hub-signature-256']),
  shopify: async (one) => {
    const request = new Request('https://receiver.example/', { method: 'POST', headers: one.headers, body: one.body });
    return (await shopify(one.secret).webhooks.validate({ rawBody: one.body, rawRequest: request })).valid;
  },
  'cloudevents-structured': (one) => {
    const found = HTTP.toEvent({ headers: one.headers, body: one.body });
    return found.validate() && found.subject === one.subject;
  },
};

const asked = JSON.parse(await text(process.stdin));
const signed = [];
for (const one of asked.sign) signed.push(await signers[one.kind](one));
const verified = [];
for (const one of asked.verify) {
  try {
    verified.push((await verifiers[one.kind](one)) === true);
  } catch {
    verified.push(false);
  }
}
console.log(JSON.stringify({ signed, verified }));
