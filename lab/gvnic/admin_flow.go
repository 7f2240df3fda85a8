//go:build linux

package gvnic

// flowCommandSize is the size in bytes of struct
// gve_adminq_configure_flow_rule.
const flowCommandSize = 4 + flowRuleSize + 4

// What to do with a rule (gve_adminq_flow_rule_cfg_opcode).
const (
	flowAdd = iota
	flowDelete
	flowReset
)

// configureFlow adds or deletes a rule, or deletes all.
func (d *Device) configureFlow(c []byte) error {
	op, location := be.Uint16(c), be.Uint32(c[4+flowRuleSize:])
	if d.config.FlowRules == 0 {
		return refuse(unimplemented, "the device has no flow steering")
	}
	if op != flowReset && int64(location) >= int64(d.config.FlowRules) {
		return refuse(outOfRange, "flow rule location %d of %d", location, d.config.FlowRules)
	}
	switch op {
	case flowAdd:
		r := flowRule{location: location}
		r.read(c[4:])
		if r.kind >= numFlowTypes {
			return refuse(invalidArgument, "flow type %d", r.kind)
		}
		if int(r.queue) >= d.config.Queues {
			return refuse(outOfRange, "flow rule to queue %d, the device has %d", r.queue, d.config.Queues)
		}
		d.flows.put(r)
	case flowDelete:
		if !d.flows.remove(location) {
			return refuse(notFound, "no flow rule at %d", location)
		}
	case flowReset:
		d.flows = nil
	default:
		return refuse(unimplemented, "flow rule operation %d", op)
	}
	return nil
}

// What is asked for of the rules (gve_adminq_flow_rule_query_opcode).
const (
	queryRules = iota
	queryIDs
	queryCounts
)

// Sizes in bytes of struct gve_query_flow_rules_descriptor and struct
// gve_adminq_queried_flow_rule.
const (
	flowAnswerSize  = 16
	flowQueriedSize = 4 + flowRuleSize
)

// maxFlowAnswer bounds an answer; the driver makes room for 4096 bytes.
const maxFlowAnswer = 64 << 10

// queryFlows tells the rules from a location on, as many as there is room for
// (struct gve_adminq_query_flow_rules).
func (d *Device) queryFlows(c []byte) error {
	op, first := be.Uint16(c), be.Uint32(c[4:])
	available, addr := be.Uint64(c[8:]), be.Uint64(c[16:])
	if d.config.FlowRules == 0 {
		return refuse(unimplemented, "the device has no flow steering")
	}
	var size int
	switch op {
	case queryRules:
		size = flowQueriedSize
	case queryIDs:
		size = 4
	case queryCounts:
	default:
		return refuse(unimplemented, "flow rule query %d", op)
	}
	var rules flowTable
	if size > 0 {
		i, _ := d.flows.find(first)
		rules = d.flows[i:]
		if available > flowAnswerSize {
			rules = rules[:min(len(rules), int(min(available, maxFlowAnswer)-flowAnswerSize)/size)]
		}
	}
	n := flowAnswerSize + len(rules)*size
	b, err := d.place(addr, available, n)
	if err != nil {
		return err
	}
	be.PutUint32(b[0:], uint32(len(d.flows)))
	be.PutUint32(b[4:], uint32(d.config.FlowRules))
	be.PutUint32(b[8:], uint32(len(rules)))
	be.PutUint32(b[12:], uint32(n))
	b = b[flowAnswerSize:]
	for i := range rules {
		be.PutUint32(b, rules[i].location)
		if op == queryRules {
			clear(b[4:size])
			rules[i].write(b[4:])
		}
		b = b[size:]
	}
	return nil
}
