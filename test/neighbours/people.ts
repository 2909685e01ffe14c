import type { Person } from './ccd.ts'

/** Ellen Ross, a patient of Ashby Medical Center. */
export const ellen: Person = {
  id: 'ellen-ross',
  identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: 'E1001', type: 'MR' }],
  family: 'Ross',
  given: 'Ellen',
  birthDate: '1956-08-14',
  gender: 'female',
}

/** Another patient, who has asked for nothing. */
export const isaac: Person = {
  id: 'isaac-newman',
  identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: 'E1002', type: 'MR' }],
  family: 'Newman',
  given: 'Isaac',
  birthDate: '1971-03-02',
  gender: 'male',
}

/** Where Ellen wants her record. */
export const ellensPhr = 'ellen.ross@direct.somephr.example'
/** The data holder’s own Direct address. */
export const transmitAddress = 'transmit@direct.ashby.example'
