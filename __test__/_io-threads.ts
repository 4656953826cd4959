/** What `ioThreads` is in the tests that do not care: npm test runs them with one, and without. */
export const ioThreads = Number(process.env.IO_THREADS ?? 1)
