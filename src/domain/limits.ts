/** Named limits, unit last, each with its source. Settings may lower or raise those that say so. */

/** One MLLP frame; channels may set `maxMessageBytes`. French CDA-in-ORU messages reach 820 kB; 16 MB leaves room for embedded PDFs. */
export const frameBytesMax = 16 * 1024 * 1024

/** One clinical document; certified samples reach 2.2 MB, partners stop at 25 MB after base64 (+37 %). Setting `documents.bytesMax`. */
export const documentBytesMax = 25 * 1024 * 1024

/** One inbound Direct message (MDN, DSN, reply); setting `tracking.messageBytesMax`. */
export const inboundMailBytesMax = 50 * 1024 * 1024
