/** The port, and what the peer table wants besides. */
export const options = { port: Number(process.env.PORT), ...JSON.parse(process.env.OPTIONS ?? '{}') }
