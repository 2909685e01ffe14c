import { describe, expect, test } from '@jest/globals'
import { readHl7 } from '../../src/lib/hl7v2.ts'
import { laneKey, laneKeys } from '../../src/mapping/lane-key.ts'
import { aPlan, message } from './a-plan.ts'

const plan = aPlan({ channel: ['timezone: UTC', 'order: { key: [PID-3.1, PID-3.4.1] }'] })
const keys = (...segments: string[]) =>
  laneKeys(plan, message(...segments)).map((key) => key.split('\u001f').join(' of '))

describe('the lane key of a message', () => {
  test('is made of the values that the channel orders by', () => {
    expect(laneKey(plan, message('PID|1||E1^^^ASHBY'))).toBe('E1\u001fASHBY')
    expect(laneKey(plan, readHl7(message('PID|1||E1^^^ASHBY')))).toBe('E1\u001fASHBY')
  })

  test('is the same for every message of a patient, and another for another', () => {
    const [a03, a13, other] = [
      message('EVN|A03', 'PID|1||E1^^^ASHBY~2^^^SSA', 'PV1|1|I'),
      message('EVN|A13', 'PID|1||E1^^^ASHBY&1.2.3&ISO'),
      message('PID|1||E1^^^OTHER'),
    ].map((one) => laneKey(plan, one))
    expect(a13).toBe(a03)
    expect(other).not.toBe(a03)
  })

  test('is missing where a value is, where the bytes are no message, and where the channel orders by nothing', () => {
    expect(laneKey(plan, message('PID|1||E1'))).toBeUndefined()
    expect(laneKey(plan, message('EVN|A03'))).toBeUndefined()
    expect(laneKey(plan, Buffer.from('PID|1||E1^^^ASHBY'))).toBeUndefined()
    expect(laneKey(aPlan({}), message('PID|1||E1^^^ASHBY'))).toBeUndefined()
  })

  test('of a FHIR resource comes from the resource', () => {
    const eobs = aPlan({
      input: 'fhir',
      channel: ['order: { key: [ExplanationOfBenefit.patient.reference] }'],
    })
    const eob = { resourceType: 'ExplanationOfBenefit', patient: { reference: 'Patient/1' } }
    expect(laneKey(eobs, eob)).toBe('Patient/1')
    expect(laneKey(eobs, Buffer.from(JSON.stringify(eob)))).toBe('Patient/1')
    expect(laneKeys(eobs, eob)).toEqual(['Patient/1'])
  })
})

describe('a message that touches two patients has the keys of both', () => {
  test('a merge (A40): the one that stays, and the one that is given up', () => {
    expect(keys('EVN|A40', 'PID|1||NEW^^^ASHBY', 'MRG|OLD^^^ASHBY')).toEqual(['NEW of ASHBY', 'OLD of ASHBY'])
  })

  test('several merges in one message', () => {
    expect(keys('EVN|A40', 'PID|1||A^^^H', 'MRG|B^^^H', 'PID|2||C^^^H', 'MRG|D^^^H')).toEqual([
      'A of H',
      'C of H',
      'B of H',
      'D of H',
    ])
  })

  test('a link (A24): both PIDs', () => {
    expect(keys('EVN|A24', 'PID|1||A^^^H', 'PV1|1|I', 'PID|2||B^^^H')).toEqual(['A of H', 'B of H'])
  })

  test('an A03 has one', () => {
    expect(keys('EVN|A03', 'PID|1||A^^^H', 'PV1|1|I')).toEqual(['A of H'])
  })

  test('the same identifier twice is one key', () => {
    expect(keys('EVN|A40', 'PID|1||A^^^H', 'MRG|A^^^H')).toEqual(['A of H'])
  })

  test('an MRG without the authority adds nothing', () => {
    expect(keys('EVN|A40', 'PID|1||A^^^H', 'MRG|B')).toEqual(['A of H'])
  })
})
