import uws from 'uwebsockets'
const chunk = new Uint8Array(1 << 16)
const write = (response) => {
  for (;;) {
    const [taken, done] = response.tryEnd(chunk.subarray(response.getWriteOffset() % chunk.length), 1 << 30)
    if (done || !taken) return done
  }
}
uws.App()
  .get('/', (response) => void write(response.onAborted(() => {}).onWritable(() => write(response))))
  .listen('127.0.0.1', Number(process.env.PORT), () => {})
