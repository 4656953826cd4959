import { h1Client, h2Client } from './_client.js'
import { contract } from './_contract.js'
import { portOf } from './_server.js'

contract({ name: 'h1', protocol: 'http/1.1', scheme: 'http', httpVersion: '1.1', listen: {}, client: (listener) => h1Client(portOf(listener)) })
contract({ name: 'h2', protocol: 'h2', scheme: 'http', httpVersion: '2.0', listen: {}, client: (listener) => h2Client(portOf(listener)) })
contract({
  name: 'h1 without read-ahead',
  protocol: 'http/1.1',
  scheme: 'http',
  httpVersion: '1.1',
  listen: { readAhead: { connections: 0, requests: 0 } },
  client: (listener) => h1Client(portOf(listener)),
})
contract({
  name: 'h2 without read-ahead',
  protocol: 'h2',
  scheme: 'http',
  httpVersion: '2.0',
  listen: { readAhead: { connections: 0, requests: 0 } },
  client: (listener) => h2Client(portOf(listener)),
})
